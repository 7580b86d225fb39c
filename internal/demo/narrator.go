package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"strongroom/internal/clock"
	"strongroom/internal/progress"
)

// narrator prints the story for a person, or as one JSON object per step.
type narrator struct {
	out   io.Writer
	json  bool
	clock clock.Clock
	begun time.Time
	step  int
}

func newNarrator(out io.Writer, asJSON bool, c clock.Clock) *narrator {
	return &narrator{out: out, json: asJSON, clock: c, begun: c.Now()}
}

// line is one thing that is told: what happens, why it matters, and the aws CLI command that does the same.
type line struct {
	Step    int     `json:"step,omitempty"`
	What    string  `json:"what"`
	Why     string  `json:"why,omitempty"`
	Command string  `json:"command,omitempty"`
	Refused string  `json:"refused,omitempty"` // the exact error text of an attack that was refused
	Seconds float64 `json:"seconds"`
}

func (n *narrator) chapter(title string) {
	if !n.json {
		fmt.Fprintf(n.out, "\n%s\n", title)
	}
}

// did tells a finished step.
func (n *narrator) did(what, why, command string) {
	n.step++
	n.print(line{Step: n.step, What: what, Why: why, Command: command})
}

// refused tells an attack and the text it was refused with.
func (n *narrator) refused(what, command, text string) {
	n.step++
	n.print(line{Step: n.step, What: what, Command: command, Refused: text})
}

func (n *narrator) print(l line) {
	l.Seconds = n.clock.Now().Sub(n.begun).Seconds()
	if n.json {
		raw, _ := json.Marshal(l)
		fmt.Fprintf(n.out, "%s\n", raw)
		return
	}
	text := fmt.Sprintf("%3d. %s", l.Step, l.What)
	if l.Why != "" {
		text += " - " + l.Why
	}
	fmt.Fprintln(n.out, text)
	if l.Command != "" {
		fmt.Fprintf(n.out, "       $ %s\n", l.Command)
	}
	if l.Refused != "" {
		fmt.Fprintf(n.out, "       refused: %s\n", strings.ReplaceAll(l.Refused, "\n", " "))
	}
}

// bar shows the progress of work; in JSON mode nothing is drawn.
func (n *narrator) bar(label string) *progress.Bar {
	if n.json {
		return progress.New(io.Discard, n.clock, label)
	}
	return progress.New(n.out, n.clock, label)
}

// Summary is the end of the story in figures. Sizes in bytes.
type Summary struct {
	Identical bool    `json:"identical"`
	Objects   int64   `json:"objects"`
	BackedUp  int64   `json:"backed_up_bytes"`
	Stored    int64   `json:"stored_bytes"` // in the backup account, after deduplication and compression
	BackupSec float64 `json:"backup_seconds"`
	CopySec   float64 `json:"copy_seconds"`
	RTO       float64 `json:"rto_seconds"` // from the decision to restore to verified files
	Endpoint  string  `json:"endpoint,omitempty"`
	Directory string  `json:"directory,omitempty"`
}

func (n *narrator) summary(s Summary) {
	if n.json {
		raw, _ := json.Marshal(s)
		fmt.Fprintf(n.out, "%s\n", raw)
		return
	}
	sec := func(f float64) string { return progress.Duration(time.Duration(f * float64(time.Second))) }
	fmt.Fprintf(n.out, `
In figures
  backed up   %s in %d objects, %s
  stored      %s in the backup account, after deduplication and compression
  copied      re-encrypted under the other account's key, %s
  restored    identical in every byte and attribute; recovery time %s
  whole demo  %s
`, progress.Bytes(s.BackedUp), s.Objects, sec(s.BackupSec), progress.Bytes(s.Stored), sec(s.CopySec), sec(s.RTO), progress.Duration(n.clock.Now().Sub(n.begun)))
}
