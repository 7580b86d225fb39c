package backup

import (
	"slices"
	"strings"

	"strongroom/internal/arn"
	"strongroom/internal/fault"
)

func (s Selection) valid() error {
	if !planName.MatchString(s.Name) {
		return fault.New(fault.Invalid, "Invalid SelectionName %q: 1 to 50 letters, digits and characters of '-_.'.", s.Name)
	}
	if s.RoleARN == "" {
		return fault.New(fault.Missing, "IamRoleArn is required.")
	}
	if len(s.Resources) == 0 && len(s.Tags) == 0 {
		return fault.New(fault.Invalid, "Invalid backup selection. Either 'ListOfTags' or 'Resources' section must be non-empty.")
	}
	exact, patterns := 0, 0
	for _, r := range slices.Concat(s.Resources, s.NotResources) {
		if strings.Contains(r, "*") {
			patterns++
		} else {
			exact++
		}
		if _, err := arn.Parse(r); r != "*" && !validPattern(r) && err != nil {
			return fault.New(fault.Invalid, "Invalid backup selection. %q is not an ARN or a pattern of ARNs.", r)
		}
	}
	if exact > maxSelectionARNs || patterns > maxSelectionPatterns {
		return fault.New(fault.Limit, "A backup selection may name %d ARNs and %d ARN patterns; this one has %d and %d.", maxSelectionARNs, maxSelectionPatterns, exact, patterns)
	}
	if len(s.Tags) > maxSelectionCriteria || s.Conditions.len() > maxSelectionCriteria {
		return fault.New(fault.Limit, "A backup selection may have %d tags and %d conditions; this one has %d and %d.", maxSelectionCriteria, maxSelectionCriteria, len(s.Tags), s.Conditions.len())
	}
	for _, t := range s.Tags {
		if t.Key == "" {
			return fault.New(fault.Invalid, "Invalid backup selection. A ConditionKey of ListOfTags is empty.")
		}
		if strings.HasPrefix(t.Key, resourceTagKeyPrefix) {
			return fault.New(fault.Invalid, "Invalid backup selection. ListOfTags takes bare tag keys: %q, not %q.", strings.TrimPrefix(t.Key, resourceTagKeyPrefix), t.Key)
		}
	}
	for _, c := range slices.Concat(s.Conditions.Equals, s.Conditions.NotEquals, s.Conditions.Like, s.Conditions.NotLike) {
		if !strings.HasPrefix(c.Key, resourceTagKeyPrefix) || c.Key == resourceTagKeyPrefix {
			return fault.New(fault.Invalid, "Invalid backup selection. ConditionKey %q of Conditions must have the form aws:ResourceTag/<tag key>.", c.Key)
		}
	}
	return nil
}

// validPattern accepts arn:<partition>:<service>... with wildcards, also shorter than an ARN ("arn:aws:ec2:*").
func validPattern(p string) bool {
	return strings.Contains(p, "*") && (strings.HasPrefix(p, "arn:") || strings.HasPrefix(p, "*")) && !strings.ContainsAny(p, " \t\r\n")
}

// ValidConditionType reports whether t is the only type that ListOfTags knows; AWS's own samples spell it in two ways.
func ValidConditionType(t string) bool { return strings.EqualFold(t, conditionStringEquals) }

// Match evaluates the selection over the declared resources:
//
//	selected = (Resources ∪ ListOfTags) ∩ all Conditions − NotResources
//
// It returns the selected resources in the order given, and the ARNs that Resources names in full although nobody declares
// them. Tags and patterns that name a service only take in a resource if its type is opted in; a pattern that names a
// resource type and a full ARN do so anyway, except where several types share one form of ARN. Resources that a restore test
// made are left out.
func (s Selection) Match(declared []Resource, optIn map[string]bool) (selected []Resource, undeclared []string) {
	known := make(map[string]bool, len(declared))
	for _, r := range declared {
		known[r.ARN] = true
		if !restoreTest(r) && s.includes(r, optIn[r.Type]) && s.Conditions.hold(r.Tags) && !s.excludes(r.ARN) {
			selected = append(selected, r)
		}
	}
	for _, name := range s.Resources {
		if !strings.Contains(name, "*") && !known[name] && !s.excludes(name) && !slices.Contains(undeclared, name) {
			undeclared = append(undeclared, name)
		}
	}
	return selected, undeclared
}

func (s Selection) includes(r Resource, optedIn bool) bool {
	for _, p := range s.Resources {
		if star(p, r.ARN) && (optedIn || namesType(p, r.Type)) {
			return true
		}
	}
	for _, t := range s.Tags {
		if v, ok := r.Tags[t.Key]; optedIn && ok && v == t.Value {
			return true
		}
	}
	return false
}

func (s Selection) excludes(name string) bool {
	return slices.ContainsFunc(s.NotResources, func(p string) bool { return star(p, name) })
}

// sharedForms are the types whose ARNs look like those of other types: a pattern of them does not name the type.
var sharedForms = []string{"Aurora", "DocumentDB", "Neptune", "FSx"}

// namesType reports whether a pattern of a selection is explicit about the resource's type and so needs no opt-in.
func namesType(pattern, resourceType string) bool {
	if !strings.Contains(pattern, "*") {
		return true
	}
	parts := strings.SplitN(pattern, ":", 6)
	return len(parts) == 6 && !strings.Contains(parts[2], "*") && parts[5] != "" && parts[5][0] != '*' && !slices.Contains(sharedForms, resourceType)
}

// hold reports whether all conditions hold for a resource with these tags. What a resource does not have is not equal to
// and not like anything.
func (c Conditions) hold(tags map[string]string) bool {
	all := func(list []KeyValue, want bool, match func(pattern, value string) bool) bool {
		for _, kv := range list {
			v, ok := tags[strings.TrimPrefix(kv.Key, resourceTagKeyPrefix)]
			if (ok && match(kv.Value, v)) != want {
				return false
			}
		}
		return true
	}
	equal := func(a, b string) bool { return a == b }
	return all(c.Equals, true, equal) && all(c.NotEquals, false, equal) && all(c.Like, true, star) && all(c.NotLike, false, star)
}

// star matches s against a pattern in which `*` stands for any run of characters and everything else for itself. It
// crosses the colons of ARNs, unlike the patterns of policies.
func star(pattern, s string) bool {
	head, rest, found := strings.Cut(pattern, "*")
	if !found {
		return pattern == s
	}
	if !strings.HasPrefix(s, head) {
		return false
	}
	s = s[len(head):]
	for {
		part, next, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(s, part)
		}
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(part):], next
	}
}

// restoreTestMark is the tag and the name prefix of resources that a restore test has made.
const restoreTestMark = "awsbackup-restore-test"

func restoreTest(r Resource) bool {
	if _, ok := r.Tags[restoreTestMark]; ok {
		return true
	}
	return strings.HasPrefix(r.Name, restoreTestMark)
}
