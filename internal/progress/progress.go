// Package progress shows long work to a person: one bar with bytes, rate and time left on a terminal, a plain line every
// few seconds otherwise.
//
// It only draws. Where the numbers come from, and whether the caller prints JSON instead, is not its business. Start
// reading at Bar.
package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"strongroom/internal/clock"
)

// Bar shows the progress of one piece of work. Not safe for concurrent use.
type Bar struct {
	out   io.Writer
	tty   bool
	clock clock.Clock
	label string
	start time.Time
	last  time.Time
	drawn bool
}

// Terminal reports whether w is a terminal.
func Terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// New starts a bar on out.
func New(out io.Writer, c clock.Clock, label string) *Bar {
	return &Bar{out: out, tty: Terminal(out), clock: c, label: label, start: c.Now()}
}

const (
	redraw    = 100 * time.Millisecond
	plainLine = 5 * time.Second
	width     = 24
)

// Update shows that done of total bytes are finished; total 0 means unknown. It draws at most ten times a second on a
// terminal and every five seconds elsewhere.
func (b *Bar) Update(done, total int64) {
	now := b.clock.Now()
	every := plainLine
	if b.tty {
		every = redraw
	}
	if b.drawn && now.Sub(b.last) < every || !b.tty && now.Sub(b.start) < every {
		return
	}
	b.last, b.drawn = now, true
	line := b.line(now, done, total)
	if b.tty {
		fmt.Fprintf(b.out, "\r\x1b[K%s", line)
	} else {
		fmt.Fprintln(b.out, line)
	}
}

// Done removes the bar from a terminal and returns how long the work took.
func (b *Bar) Done() time.Duration {
	if b.tty && b.drawn {
		fmt.Fprint(b.out, "\r\x1b[K")
	}
	return b.clock.Now().Sub(b.start)
}

func (b *Bar) line(now time.Time, done, total int64) string {
	elapsed := now.Sub(b.start)
	rate := int64(0)
	if elapsed > 0 {
		rate = int64(float64(done) / elapsed.Seconds())
	}
	if total <= 0 {
		return fmt.Sprintf("  %s  %s  %s/s", b.label, Bytes(done), Bytes(rate))
	}
	share := min(1, float64(done)/float64(total))
	full := int(share * width)
	eta := "-"
	if rate > 0 && done <= total {
		eta = Duration(time.Duration(float64(total-done) / float64(rate) * float64(time.Second)))
	}
	return fmt.Sprintf("  %s [%s%s] %3.0f%%  %s of %s  %s/s  ETA %s", b.label,
		strings.Repeat("=", full), strings.Repeat(" ", width-full), share*100, Bytes(done), Bytes(total), Bytes(rate), eta)
}

// Bytes writes a size with a binary unit and three significant figures: 512 B, 1.50 KiB, 23.4 MiB.
func Bytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v := float64(n)
	unit := -1
	for v >= 1024 && unit < 4 {
		v /= 1024
		unit++
	}
	digits := 2
	if v >= 100 {
		digits = 0
	} else if v >= 10 {
		digits = 1
	}
	return fmt.Sprintf("%.*f %ciB", digits, v, "KMGTP"[unit])
}

// Duration writes a time span as people read it: 0.4 s, 12 s, 3 min 5 s, 2 h 10 min.
func Duration(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}
