package wire

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"strongroom/internal/fault"
)

// Constraints are the limits that a service's model puts on the members of its inputs. The tables are generated from the
// published models (constraintgen). The zero value checks only that enum members hold one of the SDK's values.
type Constraints struct {
	// Inputs names the input structure of each operation that has one.
	Inputs map[string]string
	// Structures lists, by structure and member, the limits of that member; members without any are absent.
	Structures map[string]map[string]Member
	// Limits are shared by all members of a type, by the model's name of that type.
	Limits map[string]Limit
}

// Member is a structure's member: whether it must be there, and what its type says.
type Member struct {
	Required bool
	Type     string // key in Limits or Structures; "" when the type has no limits
}

// Limit is what a type demands. Min and Max bound the length of strings (in characters), blobs (in bytes), lists and maps, and the
// value of numbers. Enum values are not here: the SDK's types know theirs.
type Limit struct {
	Min, Max  *int64
	Pattern   string // RE2; the whole value must match
	Item      string // type of a list's members or a map's values
	Key       string // type of a map's keys
	Sensitive bool   // the value must not be repeated in messages
}

// At returns &n, for the generated tables.
func At(n int64) *int64 { return &n }

// Rule says which limit a value broke.
type Rule string

// The rules.
const (
	Required  Rule = "required"
	MinLength Rule = "min length"
	MaxLength Rule = "max length"
	MinValue  Rule = "min value"
	MaxValue  Rule = "max value"
	Pattern   Rule = "pattern"
	Enum      Rule = "enum"
)

// Violation is the first limit that an input broke.
type Violation struct {
	Operation string
	Path      string // "BackupPlan.Rules[0].RuleName", in the model's names
	Rule      Rule
	Value     string // the value, or a list's or blob's length; "" where the member is missing or sensitive
	Limit     string // the bound, the pattern, or the enum's values joined by ", "
	Sensitive bool
}

// Message is the text that AWS services commonly use, e.g. "1 validation error detected: Value 'x' at 'name' failed to satisfy
// constraint: Member must have length greater than or equal to 2".
func (v Violation) Message() string {
	value := "'" + v.Value + "'"
	switch {
	case v.Rule == Required:
		value = "null"
	case v.Sensitive:
		value = "'***'"
	}
	var must string
	switch v.Rule {
	case Required:
		must = "not be null"
	case MinLength:
		must = "have length greater than or equal to " + v.Limit
	case MaxLength:
		must = "have length less than or equal to " + v.Limit
	case MinValue:
		must = "have value greater than or equal to " + v.Limit
	case MaxValue:
		must = "have value less than or equal to " + v.Limit
	case Pattern:
		must = "satisfy regular expression pattern: " + v.Limit
	case Enum:
		must = "satisfy enum value set: [" + v.Limit + "]"
	}
	return "1 validation error detected: Value " + value + " at '" + v.awsPath() + "' failed to satisfy constraint: Member must " + must
}

// awsPath spells the path as AWS does in messages: tags.1.member.key for Tags[0].Key.
func (v Violation) awsPath() string {
	var b strings.Builder
	start := true
	for i := 0; i < len(v.Path); i++ {
		c := v.Path[i]
		if c == '[' {
			end := strings.IndexByte(v.Path[i:], ']')
			n, err := strconv.Atoi(v.Path[i+1 : i+end])
			if err == nil {
				b.WriteString("." + strconv.Itoa(n+1) + ".member")
			} else {
				b.WriteString("." + v.Path[i+1:i+end])
			}
			i += end
			continue
		}
		if start && c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		start = c == '.'
		b.WriteByte(c)
	}
	return b.String()
}

// Fault returns the violation as a domain error of kind Missing or Invalid, with Message as its text.
func (v Violation) Fault() *fault.Error {
	k := fault.Invalid
	if v.Rule == Required {
		k = fault.Missing
	}
	return fault.New(k, "%s", v.Message()).WithResource(v.Path)
}

// limits is a type's compiled checks.
type limits struct {
	Limit
	pattern   *regexp.Regexp
	fields    []fieldLimits
	item, key *limits
}

type fieldLimits struct {
	field
	required bool
	limits   *limits
}

// limiter compiles constraint tables against plans.
type limiter struct {
	table Constraints
	done  map[limitsOf]*limits
}

type limitsOf struct {
	plan *plan
	name string
}

// compile returns the checks for values of p whose type the model calls name ("" if it has no limits of its own).
func (l *limiter) compile(p *plan, name string) (*limits, error) {
	id := limitsOf{p, name}
	if c := l.done[id]; c != nil {
		return c, nil
	}
	c := &limits{Limit: l.table.Limits[name]}
	l.done[id] = c
	var err error
	if c.Pattern != "" {
		if c.pattern, err = regexp.Compile(`^(?:` + c.Pattern + `)$`); err != nil {
			return nil, fmt.Errorf("pattern of %s: %w", name, err)
		}
	}
	switch p.kind {
	case kindStruct, kindUnion:
		members := l.table.Structures[name]
		for m := range members {
			if _, ok := p.byName[m]; !ok {
				return nil, fmt.Errorf("%s has a limit on %s, which %s does not have", name, m, p.typ)
			}
		}
		for _, f := range p.fields {
			m := members[f.name]
			s := f.slot
			if p.kind == kindUnion {
				s = f.elem
			}
			sub, err := l.compile(s.plan, m.Type)
			if err != nil {
				return nil, err
			}
			c.fields = append(c.fields, fieldLimits{f, m.Required, sub})
		}
	case kindList, kindMap:
		if c.item, err = l.compile(p.elem.plan, c.Item); err != nil {
			return nil, err
		}
		if p.kind == kindMap && c.Key != "" {
			c.key, err = l.compile(&plan{kind: kindString}, c.Key)
		}
	}
	return c, err
}

// check returns the first limit that v breaks, or nil. Paths are built on the way out.
func (c *limits) check(p *plan, v reflect.Value) *Violation {
	switch p.kind {
	case kindStruct:
		for _, f := range c.fields {
			inner, ok := f.present(v.Field(f.index))
			if !ok {
				if f.required {
					return &Violation{Path: f.name, Rule: Required}
				}
				continue
			}
			if bad := f.limits.check(f.plan, inner); bad != nil {
				return bad.in(f.name)
			}
		}
	case kindUnion:
		chosen, inner, err := p.variant(v)
		if err != nil {
			return nil
		}
		for _, f := range c.fields {
			if f.name == chosen.name {
				if bad := f.limits.check(f.elem.plan, inner); bad != nil {
					return bad.in(f.name)
				}
			}
		}
	case kindList:
		if bad := c.length(v.Len(), "["+strconv.Itoa(v.Len())+" items]"); bad != nil {
			return bad
		}
		for i := range v.Len() {
			inner, ok := p.elem.present(v.Index(i))
			if !ok {
				continue
			}
			if bad := c.item.check(p.elem.plan, inner); bad != nil {
				return c.veil(bad.in("[" + strconv.Itoa(i) + "]"))
			}
		}
	case kindMap:
		if bad := c.length(v.Len(), "["+strconv.Itoa(v.Len())+" entries]"); bad != nil {
			return bad
		}
		for it := v.MapRange(); it.Next(); {
			if c.key != nil {
				if bad := c.key.text(it.Key().String()); bad != nil {
					return c.veil(bad.in("[key]"))
				}
			}
			if inner, ok := p.elem.present(it.Value()); ok {
				if bad := c.item.check(p.elem.plan, inner); bad != nil {
					return c.veil(bad.in("[value]"))
				}
			}
		}
	case kindString:
		if p.enum != nil && !contains(p.enum, v.String()) {
			return c.veil(&Violation{Rule: Enum, Value: short(v.String()), Limit: strings.Join(p.enum, ", ")})
		}
		return c.text(v.String())
	case kindBlob:
		return c.length(v.Len(), "["+strconv.Itoa(v.Len())+" bytes]")
	case kindInt:
		n, text := v.Int(), strconv.FormatInt(v.Int(), 10)
		switch {
		case c.Min != nil && n < *c.Min:
			return c.veil(&Violation{Rule: MinValue, Value: text, Limit: strconv.FormatInt(*c.Min, 10)})
		case c.Max != nil && n > *c.Max:
			return c.veil(&Violation{Rule: MaxValue, Value: text, Limit: strconv.FormatInt(*c.Max, 10)})
		}
	}
	return nil
}

func contains(set []string, s string) bool {
	for _, e := range set {
		if e == s {
			return true
		}
	}
	return false
}

// text checks a string.
func (c *limits) text(s string) *Violation {
	if bad := c.length(utf8.RuneCountInString(s), short(s)); bad != nil {
		return bad
	}
	if c.pattern != nil && !c.pattern.MatchString(s) {
		return c.veil(&Violation{Rule: Pattern, Value: short(s), Limit: c.Pattern})
	}
	return nil
}

func (c *limits) length(n int, shown string) *Violation {
	switch {
	case c.Min != nil && int64(n) < *c.Min:
		return c.veil(&Violation{Rule: MinLength, Value: shown, Limit: strconv.FormatInt(*c.Min, 10)})
	case c.Max != nil && int64(n) > *c.Max:
		return c.veil(&Violation{Rule: MaxLength, Value: shown, Limit: strconv.FormatInt(*c.Max, 10)})
	}
	return nil
}

// veil removes a sensitive value.
func (c *limits) veil(v *Violation) *Violation {
	if c.Sensitive {
		v.Value, v.Sensitive = "", true
	}
	return v
}

// in puts a member or an index before the path.
func (v *Violation) in(part string) *Violation {
	if v.Path != "" && v.Path[0] != '[' {
		part += "."
	}
	v.Path = part + v.Path
	return v
}

// short cuts a value to a length fit for a message.
func short(s string) string {
	const most = 200
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "..."
}
