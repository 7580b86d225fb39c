package backup

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestStatesDocumentIsTrue(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docs/STATES.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`(?m)^\| (\(new\)|[A-Z]+) \| ([A-Z -]+) \|$`)
	for title, m := range map[string]machine{"## Backup job": backupStates, "## Copy job": copyStates, "## Restore job": restoreStates} {
		_, section, ok := strings.Cut(string(raw), title)
		if !ok {
			t.Fatalf("no section %q", title)
		}
		section, _, _ = strings.Cut(section, "\n## ")
		documented := machine{}
		for _, r := range row.FindAllStringSubmatch(section, -1) {
			from := State(r[1])
			if from == "(new)" {
				from = ""
			}
			documented[from] = nil
			if r[2] != "-" {
				for _, to := range strings.Fields(r[2]) {
					documented[from] = append(documented[from], State(to))
				}
			}
		}
		for from, to := range m {
			if !slices.Equal(slices.Sorted(slices.Values(documented[from])), slices.Sorted(slices.Values(to))) {
				t.Errorf("%s: %q may become %v, the document says %v", title, from, to, documented[from])
			}
		}
		for from, to := range documented {
			if !slices.Equal(slices.Sorted(slices.Values(m[from])), slices.Sorted(slices.Values(to))) {
				t.Errorf("%s: the document says that %q may become %v, the code %v", title, from, to, m[from])
			}
			for _, s := range to {
				if _, ok := documented[s]; !ok {
					t.Errorf("%s: %s has no row", title, s)
				}
			}
		}
	}
}
