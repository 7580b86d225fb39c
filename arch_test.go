// Package strongroom holds no code: this file enforces the project's import rules (docs/ARCHITECTURE.md, "Tree and import
// rules") and a few that concern every file.
package strongroom

import (
	"bufio"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "strongroom/"

// words are the packages that everything may import and that import nothing of ours but each other.
var words = []string{"internal/arn", "internal/fault", "internal/ident", "internal/access", "internal/tree"}

// rules are pure: words only, and no clock, no I/O, no goroutines.
var rules = []string{"internal/policy", "internal/schedule"}

// services own their tables and rules; ground is what they stand on.
var services = []string{"internal/org", "internal/iam", "internal/kms", "internal/backup"}

// row is one line of the import table: what a package (and everything below it) may import of this project, and why not
// more. Standard library and outside modules are free unless banned below.
type row struct {
	pkg    string
	may    []string
	reason string
}

func table() []row {
	w := func(more ...string) []string { return append(slices.Clone(words), more...) }
	service := func(more ...string) []string {
		return w(append([]string{"internal/policy", "internal/schedule", "internal/db", "internal/clock", "internal/job"}, more...)...)
	}
	edge := w("internal/wire", "internal/authz", "internal/policy", "internal/schedule", "internal/org", "internal/iam", "internal/kms", "internal/backup", "internal/clock", "internal/preflight")
	return []row{
		{"internal/arn", nil, "words import nothing"},
		{"internal/fault", nil, "words import nothing"},
		{"internal/ident", words, "words import only words"},
		{"internal/access", nil, "words import nothing"},
		{"internal/tree", words, "words import only words"},
		{"internal/policy", words, "rules are pure: everything they need is an argument"},
		{"internal/schedule", words, "rules are pure: time is an argument"},
		{"internal/db", w("internal/durable"), "the catalog knows no service"},
		{"internal/durable", words, "ground"},
		{"internal/clock", w("internal/durable"), "ground"},
		{"internal/blob", w("internal/durable"), "storage knows nothing of what it stores"},
		{"internal/repo", w("internal/blob", "internal/clock", "internal/durable"), "the engine must open a vault without a database or a service"},
		{"internal/job", w("internal/db", "internal/clock"), "the queue knows no job's body"},
		{"internal/org", service(), "services are peers"},
		{"internal/kms", service("internal/durable"), "services are peers; kms keeps its seal in a file"},
		{"internal/iam", service("internal/org"), "iam may ask org, nothing else"},
		{"internal/backup", service(), "backup reaches keys and roles through interfaces that the server fills"},
		{"internal/authz", w("internal/policy", "internal/iam", "internal/org", "internal/clock"), "services register their resource policies with authz, not the other way round"},
		{"internal/resource", words, "providers know nothing of vaults and accounts"},
		{"internal/agent", w("internal/resource", "internal/clock"), "agents see no database and no service"},
		{"internal/preflight", w("internal/org", "internal/iam", "internal/kms", "internal/backup", "internal/authz", "internal/policy", "internal/schedule", "internal/clock"), "the preflight asks services and the evaluator; it reads no data"},
		{"internal/recovery", w("internal/repo"), "recovery wraps keys; it stores and opens nothing"},
		{"internal/standalone", w("internal/repo", "internal/recovery", "internal/blob", "internal/resource", "internal/clock", "internal/durable"), "a vault must be usable without a server, a database or a network"},
		{"internal/mount", w("internal/repo"), "a mounted file system reads recovery points; where they come from is its caller's business"},
		{"internal/rebuild", w("internal/backup", "internal/repo", "internal/recovery", "internal/blob", "internal/clock"), "the catalog is brought in line with the repositories from above both; keys and accounts come through an interface that the server fills"},
		{"internal/progress", w("internal/clock"), "progress only draws"},
		{"internal/runner", w("internal/preflight", "internal/org", "internal/iam", "internal/kms", "internal/backup", "internal/job", "internal/authz", "internal/repo", "internal/recovery", "internal/blob", "internal/resource", "internal/agent", "internal/policy", "internal/schedule", "internal/clock", "internal/db"), "job bodies join services, engine and agents, and are reached by no edge"},
		{"internal/wire", w("internal/clock"), "protocols know no service"},
		{"internal/api", edge, "an edge translates; it never touches SQL, the engine or job bodies"},
		{"internal/server", nil, "sees everything"},
		{"internal/demo", nil, "drives a whole node"},
		{"cmd/strongroom", nil, "flags only"},
	}
}

// unbound packages may import everything of ours.
var unbound = []string{"internal/server", "internal/demo", "cmd/strongroom", "test"}

// belowRepo may be imported only inside internal/repo.
const belowRepo = "internal/repo/"

type file struct {
	path, pkg string
	test      bool
	imports   []string
	lines     int
}

func files(t *testing.T) []file {
	t.Helper()
	var out []file
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != "." || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		f := file{path: path, pkg: filepath.ToSlash(filepath.Dir(path)), test: strings.HasSuffix(path, "_test.go")}
		ast, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range ast.Imports {
			p, _ := strconv.Unquote(i.Path.Value)
			f.imports = append(f.imports, p)
		}
		in, err := os.Open(path)
		if err != nil {
			return err
		}
		defer in.Close()
		s := bufio.NewScanner(in)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			f.lines++
		}
		out = append(out, f)
		return s.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func below(pkg, dir string) bool { return pkg == dir || strings.HasPrefix(pkg, dir+"/") }

// Tests may import more than the code beside them (test servers, contract suites, the wire layer to drive an adapter).
func TestPackagesImportOnlyWhatTheTableAllows(t *testing.T) {
	t.Parallel()
	for _, f := range files(t) {
		if f.pkg == "." || slices.ContainsFunc(unbound, func(u string) bool { return below(f.pkg, u) }) {
			continue
		}
		i := slices.IndexFunc(table(), func(r row) bool { return below(f.pkg, r.pkg) })
		if i < 0 {
			t.Errorf("%s: package %s has no row in the import table", f.path, f.pkg)
			continue
		}
		r := table()[i]
		for _, imp := range f.imports {
			own, ok := strings.CutPrefix(imp, module)
			if !ok || f.test || below(own, r.pkg) || isTestSupport(f.pkg) {
				continue
			}
			if !slices.ContainsFunc(r.may, func(m string) bool { return below(own, m) }) {
				t.Errorf("%s imports %s: %s", f.path, own, r.reason)
			}
		}
	}
}

// isTestSupport reports packages that exist for tests only: dbtest, blobtest, resourcetest.
func isTestSupport(pkg string) bool { return strings.HasSuffix(pkg, "test") }

func TestNobodyImportsBelowTheEngine(t *testing.T) {
	t.Parallel()
	for _, f := range files(t) {
		if below(f.pkg, "internal/repo") || below(f.pkg, "test/bench") { // the programs that measure its parts
			continue
		}
		for _, imp := range f.imports {
			if own, ok := strings.CutPrefix(imp, module); ok && strings.HasPrefix(own, belowRepo) {
				t.Errorf("%s imports %s: what is below repo is its own business", f.path, own)
			}
		}
	}
}

// Outside modules that only certain packages may touch.
var fenced = map[string][]string{
	"github.com/aws/aws-sdk-go-v2/service/": {"internal/api", "internal/wire", "internal/demo", "internal/server", "test"},
	"github.com/aws/smithy-go":              {"internal/wire", "internal/api", "internal/demo", "test"},
	"modernc.org/sqlite":                    {"internal/db"},
	"github.com/jackc/pgx":                  {"internal/db"},
	"github.com/pressly/goose":              {"internal/db"},
	"database/sql":                          {"internal/db", "internal/org", "internal/iam", "internal/kms", "internal/backup", "internal/job"},
}

func TestOutsideModulesStayBehindTheirFence(t *testing.T) {
	t.Parallel()
	for _, f := range files(t) {
		if f.test || f.pkg == "." {
			continue
		}
		for _, imp := range f.imports {
			for prefix, homes := range fenced {
				if strings.HasPrefix(imp, prefix) && !slices.ContainsFunc(homes, func(h string) bool { return below(f.pkg, h) }) {
					t.Errorf("%s imports %s, which belongs to %s", f.path, imp, strings.Join(homes, ", "))
				}
			}
		}
	}
}

// Pure packages have no business with time passing, the outside or concurrency.
func TestRulesArePure(t *testing.T) {
	t.Parallel()
	banned := []string{"context", "os", "net", "net/http", "io/fs", "database/sql", "log/slog"}
	for _, f := range files(t) {
		if f.test || !slices.ContainsFunc(rules, func(r string) bool { return below(f.pkg, r) }) {
			continue
		}
		for _, imp := range f.imports {
			if slices.Contains(banned, imp) {
				t.Errorf("%s imports %s: rules take everything as arguments", f.path, imp)
			}
		}
	}
}

// The clock is an argument: only internal/clock asks the operating system.
func TestOnlyTheClockPackageTellsTheTime(t *testing.T) {
	t.Parallel()
	for _, f := range files(t) {
		if f.test || below(f.pkg, "internal/clock") || !strings.HasPrefix(f.pkg, "internal/") || isTestSupport(f.pkg) {
			continue
		}
		src, err := os.ReadFile(f.path)
		if err != nil {
			t.Fatal(err)
		}
		for n, line := range strings.Split(string(src), "\n") {
			code, _, _ := strings.Cut(line, "//")
			for _, call := range []string{"time.Now(", "time.Since(", "time.Until(", "time.Sleep("} {
				if strings.Contains(code, call) {
					t.Errorf("%s:%d: %s) outside internal/clock", f.path, n+1, call)
				}
			}
		}
	}
}

func TestFilesStaySmall(t *testing.T) {
	t.Parallel()
	const limit = 600
	for _, f := range files(t) {
		if f.lines > limit && !strings.HasSuffix(f.path, "_gen.go") {
			t.Errorf("%s has %d lines, more than %d: split it by noun", f.path, f.lines, limit)
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	t.Parallel()
	documented := map[string]bool{}
	for _, f := range files(t) {
		if f.test {
			continue
		}
		ast, err := parser.ParseFile(token.NewFileSet(), f.path, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		documented[f.pkg] = documented[f.pkg] || ast.Doc != nil
	}
	for pkg, ok := range documented {
		if !ok {
			t.Errorf("package %s has no package comment", pkg)
		}
	}
}

// Each direct dependency has its line of reason, and each line its dependency.
func TestEveryDirectDependencyHasItsReason(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("docs/decisions/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	direct := map[string]bool{}
	for _, line := range strings.Split(string(mod), "\n") {
		if f := strings.Fields(line); len(f) == 2 && strings.HasPrefix(line, "\t") {
			direct[f[0]] = true
			if !strings.Contains(string(page), "`"+f[0]+"`") {
				t.Errorf("%s has no line in docs/decisions/dependencies.md", f[0])
			}
		}
	}
	for i, part := range strings.Split(string(page), "`") {
		if i%2 == 1 && strings.Contains(part, ".") && strings.Contains(part, "/") && !direct[part] {
			t.Errorf("docs/decisions/dependencies.md explains %s, which go.mod does not require", part)
		}
	}
}
