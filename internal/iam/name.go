package iam

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"strongroom/internal/arn"
	"strongroom/internal/ident"
)

// Kind is the sort of an entity that can carry policies.
type Kind string

// The kinds, as they appear in messages and ARNs.
const (
	KindUser  Kind = "user"
	KindGroup Kind = "group"
	KindRole  Kind = "role"
)

// Ref names an entity of an account that can carry policies.
type Ref struct {
	Kind Kind
	Name string
}

// UserRef, GroupRef and RoleRef name an entity by its name, which is matched without regard to case.
func UserRef(name string) Ref { return Ref{KindUser, name} }

// GroupRef names a group.
func GroupRef(name string) Ref { return Ref{KindGroup, name} }

// RoleRef names a role.
func RoleRef(name string) Ref { return Ref{KindRole, name} }

var (
	namePattern = regexp.MustCompile(`^[\w+=,.@-]+$`)
	pathPattern = regexp.MustCompile(`^(/|/[\x21-\x7e]+/)$`)
	tagPattern  = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)
)

var longestName = map[Kind]int{KindUser: 64, KindGroup: 128, KindRole: 64}

// fold is the form under which names are unique.
func fold(name string) string { return strings.ToLower(name) }

func checkName(field, name string, longest int) error {
	switch {
	case name == "":
		return invalid("1 validation error detected: Value at '%s' failed to satisfy constraint: Member must have length greater than or equal to 1", field)
	case len(name) > longest:
		return invalid("1 validation error detected: Value at '%s' failed to satisfy constraint: Member must have length less than or equal to %d", field, longest)
	case !namePattern.MatchString(name):
		return invalid("The specified value for %s is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-", field)
	}
	return nil
}

// checkPath returns the path to store; "" means "/".
func checkPath(path string) (string, error) {
	if path == "" {
		return "/", nil
	}
	if len(path) > 512 || !pathPattern.MatchString(path) {
		return "", invalid("The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.")
	}
	return path, nil
}

func (k Kind) field() string { return string(k) + "Name" }

// entityARN is the ARN of a user, group, role or managed policy ("policy").
func entityARN(account, kind, path, name string) string {
	return arn.Make("iam", "", account, kind+path+name)
}

// SplitARN takes an IAM ARN apart: kind is "user", "role", "policy" and so on, path begins and ends with a slash. ok is false for
// another service's ARN or a malformed one.
func SplitARN(s string) (account, kind, path, name string, ok bool) {
	a, err := arn.Parse(s)
	if err != nil || a.Service != "iam" || a.Region != "" || a.Partition != "aws" {
		return "", "", "", "", false
	}
	kind, rest, ok := strings.Cut(a.Resource, "/")
	if !ok {
		return a.Account, a.Resource, "", "", true
	}
	i := strings.LastIndexByte(rest, '/')
	return a.Account, kind, "/" + rest[:i+1], rest[i+1:], true
}

// The prefixes of unique ids.
const (
	prefixUser      = "AIDA"
	prefixGroup     = "AGPA"
	prefixRole      = "AROA"
	prefixPolicy    = "ANPA"
	prefixKey       = "AKIA"
	prefixTemporary = "ASIA"
)

func newID(prefix string) string { return prefix + ident.Random(ident.UpperAlnum, 17) }

const secretAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/+"

// newSecret returns 40 characters with 240 bits.
func newSecret() string { return ident.Random(secretAlphabet, 40) }

// checkTags validates tags to be put on an entity.
func checkTags(tags map[string]string) error {
	seen := make(map[string]bool, len(tags))
	for k, v := range tags {
		if err := checkTag(k, v); err != nil {
			return err
		}
		if seen[fold(k)] {
			return invalidInput("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		seen[fold(k)] = true
	}
	return nil
}

func checkTag(k, v string) error {
	switch n := utf8.RuneCountInString(k); {
	case n < 1 || n > 128:
		return invalid("1 validation error detected: Value at 'tags.member.key' failed to satisfy constraint: Member must have length between 1 and 128")
	case utf8.RuneCountInString(v) > 256:
		return invalid("1 validation error detected: Value at 'tags.member.value' failed to satisfy constraint: Member must have length less than or equal to 256")
	case !tagPattern.MatchString(k) || !tagPattern.MatchString(v):
		return invalid("1 validation error detected: Value at 'tags' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]+")
	case strings.HasPrefix(fold(k), "aws:"):
		return invalidInput("Invalid tag key: %s. System tags cannot be added or modified.", k)
	}
	return nil
}
