package progress

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"strongroom/internal/clock"
)

func TestBytesKeepsThreeFigures(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.00 KiB", 1536: "1.50 KiB", 24_536_678: "23.4 MiB", 1 << 40: "1.00 TiB", 500 << 20: "500 MiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestDurationReadsNaturally(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{400 * time.Millisecond: "0.4 s", 12 * time.Second: "12 s", 185 * time.Second: "3 min 5 s", 130 * time.Minute: "2 h 10 min"} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestPlainOutputIsOneLineEveryFiveSecondsWithRateAndETA(t *testing.T) {
	t.Parallel()
	c := clock.NewFake(time.Unix(0, 0))
	var out bytes.Buffer
	b := New(&out, c, "backup")
	for i := range int64(12) {
		b.Update(i<<20, 100<<20)
		c.Advance(time.Second)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines:\n%s", len(lines), out.String())
	}
	if want := "5%  5.00 MiB of 100 MiB  1.00 MiB/s  ETA 1 min 35 s"; !strings.Contains(lines[0], want) {
		t.Errorf("%q lacks %q", lines[0], want)
	}
	if d := b.Done(); d != 12*time.Second {
		t.Errorf("took %v", d)
	}
}
