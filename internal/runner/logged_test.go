package runner

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"strongroom/internal/clock"
	"strongroom/internal/job"
)

func TestEveryAttemptIsLoggedWithItsJob(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	r := New(Config{Clock: clock.NewFake(time.Unix(0, 0)), Log: slog.New(slog.NewTextHandler(&out, nil))})
	boom := errors.New("boom")
	err := r.logged(func(context.Context, job.Lease) error { return boom })(t.Context(), job.Lease{Kind: "backup", Account: "111111111111", ID: "J1", Attempt: 2})
	if !errors.Is(err, boom) {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("%d lines: %s", len(lines), out.String())
	}
	for i, want := range []string{"began", "err=boom"} {
		for _, w := range []string{want, "kind=backup", "account=111111111111", "job=J1", "attempt=2"} {
			if !strings.Contains(lines[i], w) {
				t.Errorf("%q lacks %q", lines[i], w)
			}
		}
	}
}
