package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"strongroom/internal/arn"
	"strongroom/internal/fault"
	"strongroom/internal/tree"
)

// MaxFileSize bounds an agent file.
const MaxFileSize = 1 << 20

// ReadFile reads and checks the agent file at path. Its error is a fault.Invalid that lists every fault with its line.
func ReadFile(path string) (File, error) {
	in, err := os.Open(path)
	if err != nil {
		return File{}, fault.New(fault.Invalid, "agent file: %v", err)
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(in, MaxFileSize+1))
	if err != nil {
		return File{}, fault.New(fault.Invalid, "agent file: %v", err)
	}
	f, err := Parse(path, text)
	if err != nil {
		return File{}, err
	}
	return f, f.check()
}

// Parse reads the text of an agent file; name is for messages. It looks at nothing but the text: whether directories
// exist is checked by ReadFile and Hub.Add.
func Parse(name string, text []byte) (File, error) {
	p := parser{file: File{Name: name}}
	if len(text) > MaxFileSize {
		return File{}, fault.New(fault.Invalid, "%s: larger than %d bytes", name, MaxFileSize)
	}
	if !utf8.Valid(text) {
		return File{}, fault.New(fault.Invalid, "%s: not UTF-8 text", name)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	if err := d.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return File{}, fault.New(fault.Invalid, "%s: empty", name)
		}
		return File{}, fault.New(fault.Invalid, "%s: %s", name, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		p.fault(&more, "only one document is allowed in a file")
	}
	if len(doc.Content) == 1 {
		p.top(doc.Content[0])
	}
	return p.file, p.err()
}

// parser collects faults instead of stopping at the first.
type parser struct {
	file   File
	faults []lineFault
}

type lineFault struct {
	line int
	text string
}

func (p *parser) fault(n *yaml.Node, format string, args ...any) {
	p.faults = append(p.faults, lineFault{n.Line, fmt.Sprintf(format, args...)})
}

func (p *parser) err() error { return faultsError(p.file.Name, p.faults) }

// maxFaults bounds what is listed.
const maxFaults = 50

func faultsError(name string, faults []lineFault) error {
	if len(faults) == 0 {
		return nil
	}
	slices.SortStableFunc(faults, func(a, b lineFault) int { return a.line - b.line })
	var b strings.Builder
	for i, f := range faults {
		if i == maxFaults {
			fmt.Fprintf(&b, "\nand %d more", len(faults)-i)
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s:%d: %s", name, f.line, f.text)
	}
	return fault.New(fault.Invalid, "%s", b.String())
}

// mapping walks the keys of a mapping; unknown, repeated and non-text keys are faults, and so are anchors and aliases,
// which a declaration of this size has no use for.
func (p *parser) mapping(n *yaml.Node, what string, keys map[string]func(*yaml.Node)) map[string]bool {
	seen := map[string]bool{}
	if n.Kind != yaml.MappingNode {
		p.fault(n, "%s: want keys and values", what)
		return seen
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode || k.Tag == "!!merge" {
			p.fault(k, "%s: a key must be plain text", what)
			continue
		}
		if seen[k.Value] {
			p.fault(k, "%s: %q is given twice", what, k.Value)
			continue
		}
		seen[k.Value] = true
		if k.Anchor != "" || v.Anchor != "" || v.Kind == yaml.AliasNode {
			p.fault(k, "%s: anchors and aliases are not allowed", what)
			continue
		}
		take, known := keys[k.Value]
		if !known {
			p.fault(k, "%s: unknown key %q", what, k.Value)
			continue
		}
		take(v)
	}
	return seen
}

// text reads a scalar as it is written.
func (p *parser) text(n *yaml.Node, what string) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		p.fault(n, "%s: want a text", what)
		return "", false
	}
	return n.Value, true
}

func (p *parser) flag(n *yaml.Node, what string, to *bool) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!bool" {
		switch n.Value {
		case "true":
			*to = true
			return
		case "false":
			*to = false
			return
		}
	}
	p.fault(n, "%s: want true or false", what)
}

func (p *parser) path(n *yaml.Node, what string) string {
	s, ok := p.text(n, what)
	if !ok {
		return ""
	}
	if !filepath.IsAbs(s) || filepath.Clean(s) != s || strings.IndexByte(s, 0) >= 0 {
		p.fault(n, "%s: want an absolute path without . or .. elements and without a slash at its end, not %q", what, s)
		return ""
	}
	return s
}

var (
	regionName   = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	fileSystemID = regexp.MustCompile(`^fs-[0-9a-f]{8,40}$`)
)

func (p *parser) top(n *yaml.Node) {
	f := &p.file
	seen := p.mapping(n, "agent file", map[string]func(*yaml.Node){
		"account": func(v *yaml.Node) {
			f.Account, _ = p.text(v, "account")
			if !arn.ValidAccount(f.Account) {
				p.fault(v, "account: want 12 digits (in quotes), not %q", f.Account)
			}
		},
		"region": func(v *yaml.Node) {
			f.Region, _ = p.text(v, "region")
			if !regionName.MatchString(f.Region) {
				p.fault(v, "region: want lower-case letters, digits and hyphens, not %q", f.Region)
			}
		},
		"resources": p.resources,
		"restore":   p.restore,
	})
	for _, k := range []string{"account", "region"} {
		if n.Kind == yaml.MappingNode && !seen[k] {
			p.fault(n, "agent file: %q is missing", k)
		}
	}
	p.overlaps()
}

func (p *parser) resources(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.SequenceNode {
		p.fault(n, "resources: want a list")
		return
	}
	lines := map[string]int{}
	for _, item := range n.Content {
		if item.Anchor != "" || item.Kind == yaml.AliasNode {
			p.fault(item, "resource: anchors and aliases are not allowed")
			continue
		}
		r, ok := p.resource(item)
		if !ok {
			continue
		}
		if first := lines[r.ID]; first != 0 && r.ID != "" {
			p.fault(item, "resource: id %s is declared on line %d already", r.ID, first)
			continue
		}
		lines[r.ID] = item.Line
		p.file.Resources = append(p.file.Resources, r)
	}
}

// later are the resource types that the design has and this version has no provider for.
var later = []string{"RDS", "Aurora", "S3", "DynamoDB", "EBS"}

// resourceType finds the type before anything else is judged: the keys depend on it.
func (p *parser) resourceType(n *yaml.Node) (string, bool) {
	if n.Kind != yaml.MappingNode {
		p.fault(n, "resource: want keys and values")
		return "", false
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != "type" {
			continue
		}
		t, ok := p.text(n.Content[i+1], "resource type")
		switch {
		case !ok:
		case t == EFS:
			return t, true
		case slices.Contains(later, t):
			p.fault(n.Content[i+1], "resource: type %s is not supported by this version (only %s is)", t, EFS)
		default:
			p.fault(n.Content[i+1], "resource: unknown type %q", t)
		}
		return "", false
	}
	p.fault(n, `resource: "type" is missing`)
	return "", false
}

func (p *parser) resource(n *yaml.Node) (Resource, bool) {
	r := Resource{line: n.Line}
	var ok bool
	if r.Type, ok = p.resourceType(n); !ok {
		return r, false
	}
	seen := p.mapping(n, "resource", map[string]func(*yaml.Node){
		"type": func(*yaml.Node) {},
		"id": func(v *yaml.Node) {
			r.ID, _ = p.text(v, "resource id")
			if !fileSystemID.MatchString(r.ID) {
				p.fault(v, "resource id: want fs- and 8 to 40 of 0-9a-f, not %q", r.ID)
			}
		},
		"path":        func(v *yaml.Node) { r.Path = p.path(v, "resource path") },
		"tags":        func(v *yaml.Node) { r.Tags = p.tags(v) },
		"crossMounts": func(v *yaml.Node) { p.flag(v, "crossMounts", &r.CrossMounts) },
		"fixedBlocks": func(v *yaml.Node) { r.Blocks = p.blocks(v) },
	})
	for _, k := range []string{"id", "path"} {
		if !seen[k] {
			p.fault(n, "resource: %q is missing", k)
		}
	}
	return r, true
}

// maxBlocks bounds the rules of one resource: each file is compared with all of them.
const maxBlocks = 100

func (p *parser) blocks(n *yaml.Node) (rules []tree.Blocks) {
	if n.Kind != yaml.SequenceNode || len(n.Content) > maxBlocks {
		p.fault(n, "fixedBlocks: want a list of at most %d patterns", maxBlocks)
		return nil
	}
	for _, v := range n.Content {
		text, ok := p.text(v, "fixedBlocks pattern")
		if !ok {
			continue
		}
		b, err := tree.ParseBlocks(text)
		if err != nil {
			p.fault(v, "fixedBlocks: %v", err)
			continue
		}
		rules = append(rules, b)
	}
	return rules
}

// Limits of tags, as AWS has them.
const maxTags, maxTagKey, maxTagValue = 50, 128, 256

func (p *parser) tags(n *yaml.Node) map[string]string {
	tags := map[string]string{}
	if n.Kind != yaml.MappingNode {
		p.fault(n, "tags: want keys and values")
		return tags
	}
	keys := map[string]func(*yaml.Node){}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		keys[k.Value] = func(v *yaml.Node) {
			s, ok := p.text(v, "tag "+k.Value)
			switch {
			case !ok:
			case k.Value == "" || utf8.RuneCountInString(k.Value) > maxTagKey:
				p.fault(k, "tags: a key has 1 to %d characters", maxTagKey)
			case strings.HasPrefix(strings.ToLower(k.Value), "aws:"):
				p.fault(k, "tags: keys beginning with aws: are reserved")
			case utf8.RuneCountInString(s) > maxTagValue:
				p.fault(v, "tags: the value of %q has more than %d characters", k.Value, maxTagValue)
			default:
				tags[k.Value] = s
			}
		}
	}
	p.mapping(n, "tags", keys)
	if len(tags) > maxTags {
		p.fault(n, "tags: more than %d", maxTags)
	}
	return tags
}

func (p *parser) restore(n *yaml.Node) {
	keys := map[string]func(*yaml.Node){EFS: p.restoreEFS}
	for _, t := range later {
		keys[t] = func(v *yaml.Node) {
			p.fault(v, "restore: type %s is not supported by this version (only %s is)", t, EFS)
		}
	}
	p.mapping(n, "restore", keys)
}

func (p *parser) restoreEFS(n *yaml.Node) {
	r := &RestoreEFS{Ownership: os.Geteuid() == 0, line: n.Line}
	seen := p.mapping(n, "restore EFS", map[string]func(*yaml.Node){
		"root":      func(v *yaml.Node) { r.Root = p.path(v, "restore root") },
		"devices":   func(v *yaml.Node) { p.flag(v, "devices", &r.Devices) },
		"setuid":    func(v *yaml.Node) { p.flag(v, "setuid", &r.SetUID) },
		"ownership": func(v *yaml.Node) { p.flag(v, "ownership", &r.Ownership) },
	})
	if n.Kind == yaml.MappingNode && !seen["root"] {
		p.fault(n, `restore EFS: "root" is missing`)
	}
	if r.SetUID && !r.Ownership {
		p.fault(n, "restore EFS: setuid needs ownership: without its owner a setuid file gives somebody else's rights")
	}
	p.file.Restore = r
}

func (p *parser) overlaps() {
	r := p.file.Restore
	if r == nil || r.Root == "" {
		return
	}
	for _, res := range p.file.Resources {
		if res.Path != "" && overlap(res.Path, r.Root) {
			p.faults = append(p.faults, lineFault{res.line, "resource path: " + res.Path + " and the restore root " + r.Root + " must not contain one another"})
		}
	}
}

// overlap reports whether one path is the other or lies in it.
func overlap(a, b string) bool { return within(a, b) || within(b, a) }

// within reports whether path is dir or lies in it.
func within(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}
