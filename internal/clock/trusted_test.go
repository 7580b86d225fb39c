package clock

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func open(t *testing.T, path string, f *Fake) *Trusted {
	t.Helper()
	c, err := OpenTrusted(path, f)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTrustedClockFollowsRunningTime(t *testing.T) {
	t.Parallel()
	f := NewFake(begin)
	c := open(t, filepath.Join(t.TempDir(), "clock"), f)
	f.Advance(40 * 24 * time.Hour)
	if r := c.Read(); r.Frozen || !r.Now.Equal(begin.Add(40*24*time.Hour)) {
		t.Fatalf("%+v", r)
	}
}

func TestRestartingWithTheDateMovedOnGainsSevenDaysAtMost(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "clock")
	f := NewFake(begin)
	open(t, path, f)
	for range 20 {
		f.Advance(10 * 365 * 24 * time.Hour / 20) // the clock is set forward while the process is down
		c := open(t, path, f)
		r := c.Read()
		if r.Now.After(begin.Add(maxAllowance)) {
			t.Fatalf("compliance time jumped to %v", r.Now)
		}
		if !r.Frozen {
			t.Fatal("not frozen")
		}
		if err := c.Persist(); err != nil {
			t.Fatal(err)
		}
	}
	if err := AcceptWall(path, f); err != nil {
		t.Fatal(err)
	}
	if r := open(t, path, f).Read(); r.Frozen || !r.Now.Equal(f.Now()) {
		t.Fatalf("after accept: %+v", r)
	}
}

func TestAWeekOffIsCredited(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "clock")
	f := NewFake(begin)
	open(t, path, f)
	f.Advance(6 * 24 * time.Hour)
	if r := open(t, path, f).Read(); r.Frozen || !r.Now.Equal(f.Now()) {
		t.Fatalf("%+v", r)
	}
}

func TestClockSetBackDelaysAndNeverGoesBack(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "clock")
	f := NewFake(begin)
	c := open(t, path, f)
	f.Advance(time.Hour)
	c.Persist()
	f.Set(begin.Add(-48 * time.Hour))
	c = open(t, path, f)
	r := c.Read()
	if !r.Frozen || !r.Now.Equal(f.Now()) {
		t.Fatalf("%+v", r)
	}
	if c.state.Time.Before(begin.Add(time.Hour)) {
		t.Fatalf("compliance time went back to %v", c.state.Time)
	}
}

func TestDamagedClockFileIsRefused(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{"empty": "", "garbage": "\x00\x01", "no time": `{"wall":"2026-01-01T00:00:00Z"}`, "negative": `{"time":"2026-01-01T00:00:00Z","wall":"2026-01-01T00:00:00Z","allowance":-5}`} {
		path := filepath.Join(t.TempDir(), "clock")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenTrusted(path, NewFake(begin)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Whatever happens to the wall clock over runs and restarts, nothing whose retention has not really passed is deletable,
// but for the allowance, which refills as fast as the process runs.
func TestNoClockHistoryDeletesEarly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		path := filepath.Join(dir, "clock"+time.Duration(n).String())
		real, skew, ran := begin, time.Duration(0), time.Duration(0)
		f := NewFake(begin)
		c, err := OpenTrusted(path, f)
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0: // run
				d := time.Duration(rapid.Int64Range(0, int64(48*time.Hour)).Draw(t, "run"))
				real, ran = real.Add(d), ran+d
				f.Set(real.Add(skew))
				c.Read()
			case 1: // stop, time passes, the wall clock is moved, start
				if err := c.Persist(); err != nil {
					t.Fatal(err)
				}
				real = real.Add(time.Duration(rapid.Int64Range(0, int64(72*time.Hour)).Draw(t, "down")))
				skew += time.Duration(rapid.Int64Range(-int64(20*365*24*time.Hour), int64(20*365*24*time.Hour)).Draw(t, "skew"))
				f.Set(real.Add(skew))
				if c, err = OpenTrusted(path, f); err != nil {
					t.Fatal(err)
				}
			case 2:
				if r := c.Read(); !r.Frozen && r.Now.After(real.Add(maxAllowance+ran)) {
					t.Fatalf("deletable up to %v at %v", r.Now, real)
				}
			}
		}
	})
}
