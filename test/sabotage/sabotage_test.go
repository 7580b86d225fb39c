package sabotage

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"strongroom/test/bar"
)

var only = flag.String("bug", "", "plant only the bugs whose name matches this expression")

// edit replaces a text, which must occur exactly once, in a file of the tree.
type edit struct{ file, old, new string }

// bug is one planted mistake.
type bug struct {
	name  string
	edits []edit
	// pkg and run are the test that must fail: a package, and the tests of it.
	pkg, run string
}

const root = "../.."

// overlay writes the edited files and what tells the compiler to use them.
func (b bug) overlay(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	replace := map[string]string{}
	for i, e := range b.edits {
		path, err := filepath.Abs(filepath.Join(root, e.file))
		if err != nil {
			t.Fatal(err)
		}
		now := replace[path]
		if now == "" {
			now = path
		}
		text, err := os.ReadFile(now)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), e.old); n != 1 {
			t.Fatalf("%s: %s has the text %d times that is to be replaced: bring the table up to date\n%s", b.name, e.file, n, e.old)
		}
		to := filepath.Join(dir, string(rune('a'+i))+".go")
		if err := os.WriteFile(to, []byte(strings.Replace(string(text), e.old, e.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[path] = to
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// goTest runs the bug's tests, in their everyday size, with or without it.
func (b bug) goTest(t *testing.T, overlay string) (output string, ok bool) {
	t.Helper()
	args := []string{"test", "-count=1", "-timeout=300s", "-run", b.run}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.Command("go", append(args, "./"+b.pkg)...)
	cmd.Dir = root
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "STRONGROOM_BARS") })
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

// TestEveryBugCanBePlanted sees that the table fits the code: it costs next to nothing and tells at once when code has moved on.
func TestEveryBugCanBePlanted(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, b := range bugs {
		if names[b.name] {
			t.Errorf("two bugs are called %q", b.name)
		}
		names[b.name] = true
		t.Run(b.name, func(t *testing.T) { b.overlay(t) })
	}
	if len(bugs) < 20 {
		t.Errorf("only %d bugs", len(bugs))
	}
}

// TestB40EveryPlantedBugIsCaught plants every bug (everyday: the cheapest) and runs the tests that must notice it. Every test runs
// without the bug first, so that one which fails anyway proves nothing.
func TestB40EveryPlantedBugIsCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles packages")
	}
	chosen := bugs[:bar.Size(1, len(bugs))]
	if *only != "" {
		match := regexp.MustCompile(*only)
		chosen = slices.DeleteFunc(slices.Clone(bugs), func(b bug) bool { return !match.MatchString(b.name) })
	}
	sound := map[string]bool{}
	caught := 0
	for _, b := range chosen {
		overlay := b.overlay(t)
		if key := b.pkg + " " + b.run; !sound[key] {
			out, ok := b.goTest(t, "")
			if !ok {
				t.Errorf("%s: %s fails without it:\n%s", b.name, key, tail(out))
				continue
			}
			if strings.Contains(out, "no tests to run") {
				t.Errorf("%s: there is no test %s in %s", b.name, b.run, b.pkg)
				continue
			}
			sound[key] = true
		}
		out, ok := b.goTest(t, overlay)
		switch {
		case ok:
			t.Errorf("NOT CAUGHT: %s, by %s in %s", b.name, b.run, b.pkg)
		case strings.Contains(out, "[build failed]") || strings.Contains(out, "[setup failed]"):
			t.Errorf("%s: the edited code does not compile:\n%s", b.name, tail(out))
		default:
			caught++
			t.Logf("caught: %s", b.name)
		}
	}
	bar.Report(t, "B40", "%d planted, %d caught", len(chosen), caught)
}

func tail(s string) string { return s[max(0, len(s)-2000):] }
