package wire

import "strongroom/internal/fault"

// Constraints are the limits that a service's model puts on the members of its inputs. The tables are generated from the
// published models (constraintgen); the zero value checks nothing.
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
// value of numbers.
type Limit struct {
	Min, Max *int64
	Pattern  string   // RE2, unanchored as in the model
	Enum     []string // allowed values
	Item     string   // type of a list's members or a map's values
	Key      string   // type of a map's keys
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
	Value     string // the value; "" where the member is missing or its type is sensitive
	Limit     string // the bound, the pattern, or the enum's values joined by ", "
}

// Message is the text that AWS services commonly use, e.g. "1 validation error detected: Value 'x' at 'name' failed to satisfy
// constraint: Member must have length greater than or equal to 2".
func (v Violation) Message() string { return "" }

// Fault returns the violation as a domain error of kind Missing or Invalid, with Message as its text.
func (v Violation) Fault() *fault.Error {
	k := fault.Invalid
	if v.Rule == Required {
		k = fault.Missing
	}
	return fault.New(k, "%s", v.Message()).WithResource(v.Path)
}
