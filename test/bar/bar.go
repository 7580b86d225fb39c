// Package bar sizes the bars: tests that prove one promise of the project by doing it often (thousand-fold damage, hundreds of
// kills, every input and output failing once). Each is an ordinary test named TestBNN… that runs in a small size every day and in
// its full size under scripts/bars-engine, which prints what each one counted.
//
// It is for tests only, holds no assertion and knows no bar. Start reading at Size and Report.
package bar

import (
	"fmt"
	"os"
	"sync"
	"testing"
)

// Full tells whether the bars run in full size (STRONGROOM_BARS=full).
func Full() bool { return os.Getenv("STRONGROOM_BARS") == "full" }

// Size is how often to do what a bar does: everyday in an ordinary test run, full under scripts/bars-engine.
func Size(everyday, full int) int {
	if Full() {
		return full
	}
	return everyday
}

var writing sync.Mutex

// Report tells what a bar counted, in one line: "B07 1500 damages: 1500 detected". The line goes to the test's log and, if
// STRONGROOM_BARS_REPORT names a file, to its end. Safe for concurrent use.
func Report(t testing.TB, id, format string, args ...any) {
	t.Helper()
	line := id + " " + fmt.Sprintf(format, args...)
	t.Log(line)
	name := os.Getenv("STRONGROOM_BARS_REPORT")
	if name == "" {
		return
	}
	writing.Lock()
	defer writing.Unlock()
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, line); err != nil {
		t.Fatal(err)
	}
}
