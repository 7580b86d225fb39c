// Package arn parses, builds and matches Amazon Resource Names and account ids.
//
// It is a words package: standard library only, no knowledge of any service. Matching follows the IAM rule that the
// six parts of a pattern are compared one by one, so a wildcard never swallows one of the first five colons.
package arn

import (
	"errors"
	"strings"
)

// ARN is a parsed Amazon Resource Name: arn:partition:service:region:account:resource.
// Region and Account may be empty (IAM has no region, S3 has neither).
type ARN struct {
	Partition, Service, Region, Account, Resource string
}

// ErrSyntax is returned by Parse for text that is not an ARN.
var ErrSyntax = errors.New("not an ARN: want arn:partition:service:region:account:resource")

// Parse splits s at its first five colons. Partition, service and resource must not be empty.
func Parse(s string) (ARN, error) {
	p := strings.SplitN(s, ":", 6)
	if len(p) != 6 || p[0] != "arn" || p[1] == "" || p[2] == "" || p[5] == "" {
		return ARN{}, ErrSyntax
	}
	return ARN{Partition: p[1], Service: p[2], Region: p[3], Account: p[4], Resource: p[5]}, nil
}

// String is the inverse of Parse.
func (a ARN) String() string {
	return "arn:" + a.Partition + ":" + a.Service + ":" + a.Region + ":" + a.Account + ":" + a.Resource
}

// Make builds the text of an ARN in the aws partition.
func Make(service, region, account, resource string) string {
	return ARN{"aws", service, region, account, resource}.String()
}

// Root is the ARN of an account's root user, which in policies stands for the whole account.
func Root(account string) string { return Make("iam", "", account, "root") }

// AccountOf returns the account part of an ARN, or "" when s is not an ARN or names no account.
func AccountOf(s string) string {
	a, err := Parse(s)
	if err != nil {
		return ""
	}
	return a.Account
}

// ValidAccount reports whether id is a 12-digit account id.
func ValidAccount(id string) bool {
	if len(id) != 12 {
		return false
	}
	for i := range len(id) {
		if id[i] < '0' || id[i] > '9' {
			return false
		}
	}
	return true
}

// Match reports whether the ARN pattern matches value, part by part; `*` matches any run and `?` any one character
// within its part. The bare pattern "*" matches everything. Matching is case-sensitive.
func Match(pattern, value string) bool {
	if pattern == "*" {
		return true
	}
	pp, vv := strings.SplitN(pattern, ":", 6), strings.SplitN(value, ":", 6)
	if len(pp) != 6 || len(vv) != 6 {
		return false
	}
	for i := range pp {
		if !Glob(pp[i], vv[i]) {
			return false
		}
	}
	return true
}

// Glob matches s against a pattern of literal bytes, `*` (any run, also empty) and `?` (one byte) in time
// proportional to len(pattern)*len(s) at worst and without recursion.
func Glob(pattern, s string) bool {
	p, i := 0, 0
	star, mark := -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p++
			i++
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
