// Command constraintgen writes the constraint table of a service from its published model.
//
// It is run by hand when the models are renewed, never by the build:
//
//	go run ./internal/wire/constraintgen -model .../botocore/data/kms/2014-11-01/service-2.json.gz -out internal/api/kmsapi/constraints_gen.go
//
// The models are those that botocore ships (Apache License 2.0). Only facts are taken: which members are required, and the
// length, range and pattern of types. Where the running services are known to accept more than their model says, or
// a pattern is of a kind that Go's regular expressions do not have, amend and translate have the change and its reason.
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"go/format"
	"io"
	"log"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

type model struct {
	Metadata struct {
		APIVersion string `json:"apiVersion"`
		ID         string `json:"serviceId"`
		UID        string `json:"uid"`
	} `json:"metadata"`
	Operations map[string]struct {
		Input *ref `json:"input"`
	} `json:"operations"`
	Shapes map[string]*shape `json:"shapes"`
}

type ref struct {
	Shape string `json:"shape"`
}

type shape struct {
	Type      string         `json:"type"`
	Min       *json.Number   `json:"min"`
	Max       *json.Number   `json:"max"`
	Pattern   string         `json:"pattern"`
	Sensitive bool           `json:"sensitive"`
	Required  []string       `json:"required"`
	Members   map[string]ref `json:"members"`
	Member    *ref           `json:"member"`
	Key       *ref           `json:"key"`
	Value     *ref           `json:"value"`
}

func main() {
	log.SetFlags(0)
	path := flag.String("model", "", "service-2.json or service-2.json.gz of a service")
	out := flag.String("out", "", "Go file to write; its directory names the package")
	flag.Parse()
	if *path == "" || *out == "" {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*path, *out); err != nil {
		log.Fatal(err)
	}
}

func run(path, out string) error {
	m, err := load(path)
	if err != nil {
		return err
	}
	if err := m.amend(); err != nil {
		return err
	}
	abs, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	src, err := m.render(filepath.Base(filepath.Dir(abs)))
	if err != nil {
		return err
	}
	return os.WriteFile(out, src, 0o644)
}

func load(path string) (*model, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var in io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if in, err = gzip.NewReader(f); err != nil {
			return nil, err
		}
	}
	m := &model{}
	if err := json.NewDecoder(in).Decode(m); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return m, nil
}

// amend makes the deliberate differences from the models.
func (m *model) amend() error {
	if m.Metadata.ID == "Backup" {
		// The lists accept "*" (all accounts of the organization) and the summaries "ANY", as their documentation says, though
		// the model has twelve digits.
		wild := *m.Shapes["AccountId"]
		wild.Pattern = `^([0-9]{12}|\*|ANY)$`
		m.Shapes["AccountIdOrAll"] = &wild
		for name, s := range m.Shapes {
			if !strings.HasPrefix(name, "List") || !strings.HasSuffix(name, "Input") {
				continue
			}
			for member, r := range s.Members {
				if r.Shape == "AccountId" {
					s.Members[member] = ref{"AccountIdOrAll"}
				}
			}
		}
	}
	for name, s := range m.Shapes {
		p, err := translate(s)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		s.Pattern = p
	}
	return nil
}

// translate turns a pattern into the syntax of Go. Java's \uXXXX becomes \x{XXXX}; one STS pattern means code points of five
// and six digits by it.
func translate(s *shape) (string, error) {
	p := s.Pattern
	// No two dashes in a row, in 3 to 63 characters: Go has no lookahead, but the same is a sequence of words joined by single dashes.
	if p == `^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$` {
		lo, hi := json.Number("3"), json.Number("63")
		s.Min, s.Max = &lo, &hi
		return `[a-z0-9]+(-[a-z0-9]+)*`, nil
	}
	p = strings.ReplaceAll(p, `\u10000-\u10FFFF`, `\x{10000}-\x{10FFFF}`)
	// Surrogates are not characters; the models end ranges before and start them after.
	p = regexp.MustCompile(`\\u([0-9A-Fa-f]{4})`).ReplaceAllString(p, `\x{$1}`)
	if _, err := regexp.Compile(p); err != nil {
		return "", err
	}
	return p, nil
}

// interesting returns the types that limit anything, themselves or below.
func (m *model) interesting() map[string]bool {
	yes := map[string]bool{}
	for changed := true; changed; {
		changed = false
		for name, s := range m.Shapes {
			if yes[name] {
				continue
			}
			hit := s.Min != nil || s.Max != nil || s.Pattern != "" || s.Sensitive || len(s.Required) > 0
			for _, r := range s.Members {
				hit = hit || yes[r.Shape]
			}
			for _, r := range []*ref{s.Member, s.Key, s.Value} {
				hit = hit || r != nil && yes[r.Shape]
			}
			if hit {
				yes[name], changed = true, true
			}
		}
	}
	return yes
}

// reachable returns the types that inputs use.
func (m *model) reachable() map[string]bool {
	seen := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		s := m.Shapes[name]
		for _, r := range s.Members {
			visit(r.Shape)
		}
		for _, r := range []*ref{s.Member, s.Key, s.Value} {
			if r != nil {
				visit(r.Shape)
			}
		}
	}
	for _, op := range m.Operations {
		if op.Input != nil {
			visit(op.Input.Shape)
		}
	}
	return seen
}

func (m *model) render(pkg string) ([]byte, error) {
	yes, used := m.interesting(), m.reachable()
	kept := func(name string) string {
		if yes[name] {
			return name
		}
		return ""
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "// Code generated by constraintgen. DO NOT EDIT.\n// Source: facts of the %s service model shipped with botocore (Apache License 2.0).\n\npackage %s\n\nimport \"strongroom/internal/wire\"\n\n", m.Metadata.UID, pkg)
	fmt.Fprintf(&b, "func constraints() wire.Constraints {\nreturn wire.Constraints{\nInputs: map[string]string{\n")
	for _, op := range slices.Sorted(maps.Keys(m.Operations)) {
		if in := m.Operations[op].Input; in != nil && yes[in.Shape] {
			fmt.Fprintf(&b, "%q: %q,\n", op, in.Shape)
		}
	}
	b.WriteString("},\nStructures: map[string]map[string]wire.Member{\n")
	names := slices.Sorted(maps.Keys(m.Shapes))
	for _, name := range names {
		s := m.Shapes[name]
		if !used[name] || !yes[name] || s.Type != "structure" {
			continue
		}
		fmt.Fprintf(&b, "%q: {\n", name)
		for _, member := range slices.Sorted(maps.Keys(s.Members)) {
			required, typ := slices.Contains(s.Required, member), kept(s.Members[member].Shape)
			field := strings.ToUpper(member[:1]) + member[1:] // the SDK's spelling
			switch {
			case required && typ != "":
				fmt.Fprintf(&b, "%q: {Required: true, Type: %q},\n", field, typ)
			case required:
				fmt.Fprintf(&b, "%q: {Required: true},\n", field)
			case typ != "":
				fmt.Fprintf(&b, "%q: {Type: %q},\n", field, typ)
			}
		}
		b.WriteString("},\n")
	}
	b.WriteString("},\nLimits: map[string]wire.Limit{\n")
	for _, name := range names {
		s := m.Shapes[name]
		if !used[name] || !yes[name] || s.Type == "structure" {
			continue
		}
		var parts []string
		add := func(format string, a any) { parts = append(parts, fmt.Sprintf(format, a)) }
		if s.Min != nil {
			add("Min: wire.At(%s)", *s.Min)
		}
		if s.Max != nil {
			add("Max: wire.At(%s)", *s.Max)
		}
		if s.Pattern != "" {
			if strings.Contains(s.Pattern, "`") {
				add("Pattern: %q", s.Pattern)
			} else {
				add("Pattern: `%s`", s.Pattern)
			}
		}
		if s.Member != nil && yes[s.Member.Shape] {
			add("Item: %q", s.Member.Shape)
		}
		if s.Value != nil && yes[s.Value.Shape] {
			add("Item: %q", s.Value.Shape)
		}
		if s.Key != nil && yes[s.Key.Shape] {
			add("Key: %q", s.Key.Shape)
		}
		if s.Sensitive {
			parts = append(parts, "Sensitive: true")
		}
		fmt.Fprintf(&b, "%q: {%s},\n", name, strings.Join(parts, ", "))
	}
	b.WriteString("},\n}\n}\n")
	return format.Source(b.Bytes())
}
