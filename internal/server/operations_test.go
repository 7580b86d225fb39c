package server

import (
	"errors"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awskms "github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"strongroom/internal/wire"
)

// names are the operations of a service: those that it has, and those of the model that it has not.
func names(s wire.Service) (have, absent []string) {
	for _, o := range s.Operations {
		have = append(have, o.Name)
	}
	all := slices.Clone(s.KnownNames)
	for _, k := range s.Known {
		all = append(all, k.ID().Name)
	}
	for _, n := range all {
		if !slices.Contains(have, n) {
			absent = append(absent, n)
		}
	}
	slices.Sort(have)
	slices.Sort(absent)
	return have, absent
}

// The page lists what is implemented and what is not in tables below "## NAME (`signing name`)", "### Implemented" and
// "### Not implemented"; operations are the code words of the second column.
func TestCompatibilityPageListsEveryOperation(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docs/compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	type list struct{ have, absent []string }
	page := map[string]*list{}
	title, word := regexp.MustCompile("^## .*\\(`([a-z]+)`\\)$"), regexp.MustCompile("`([A-Za-z0-9]+)`")
	var at *list
	var into *[]string
	for _, line := range strings.Split(string(raw), "\n") {
		switch {
		case strings.HasPrefix(line, "## "):
			at, into = nil, nil
			if m := title.FindStringSubmatch(line); m != nil {
				at = &list{}
				page[m[1]] = at
			}
		case strings.HasPrefix(line, "### "):
			into = nil
			if at != nil && line == "### Implemented" {
				into = &at.have
			} else if at != nil && line == "### Not implemented" {
				into = &at.absent
			}
		case into != nil && strings.HasPrefix(line, "|"):
			for _, m := range word.FindAllStringSubmatch(strings.Split(line, "|")[2], -1) {
				*into = append(*into, m[1])
			}
		}
	}
	served := (&Server{}).services()
	for _, s := range served {
		have, absent := names(s)
		listed := page[s.Name]
		if listed == nil {
			t.Errorf("docs/compatibility.md has no section for %s", s.Name)
			continue
		}
		compare(t, s.Name+", implemented", have, listed.have)
		compare(t, s.Name+", not implemented", absent, listed.absent)
		delete(page, s.Name)
	}
	for name := range maps.Keys(page) {
		t.Errorf("docs/compatibility.md has a section for %s, which is not served", name)
	}
}

func compare(t *testing.T, what string, code, page []string) {
	t.Helper()
	slices.Sort(page)
	for i, n := range page {
		if i > 0 && page[i-1] == n {
			t.Errorf("%s: docs/compatibility.md lists %s twice", what, n)
		}
		if !slices.Contains(code, n) {
			t.Errorf("%s: docs/compatibility.md lists %s, the code does not", what, n)
		}
	}
	for _, n := range code {
		if !slices.Contains(page, n) {
			t.Errorf("%s: %s is missing in docs/compatibility.md", what, n)
		}
	}
}

// The SDK's own client must understand the answer: neither success nor an error without a name.
func TestOperationsThatAreNotImplementedSaySo(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	for _, s := range n.services() {
		client := n.root.of(s.Name)
		_, absent := names(s)
		want := "UnsupportedOperationException"
		if s.Protocol == wire.Query {
			want = "UnsupportedOperation"
		}
		for _, op := range absent {
			err := invoke(t.Context(), client, op, sampler{all: true}.input(t, client, op))
			if code(err) != want {
				t.Errorf("%s %s: got %v, want %s", s.Name, op, err, want)
			} else if !strings.Contains(err.Error(), s.Name+":"+op) || !strings.Contains(err.Error(), "docs/compatibility.md") {
				t.Errorf("%s %s: the message does not name the operation and the page: %v", s.Name, op, err)
			}
		}
	}
}

// The SDK refuses inputs that lack a required member before it sends them. What it misses must be required here too: other
// clients do not look.
func TestRequiredMembersAreThoseOfTheSDK(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	for _, s := range n.services() {
		client := n.root.of(s.Name)
		if client == nil {
			continue
		}
		have, _ := names(s)
		for _, op := range have {
			m := reflect.ValueOf(client).MethodByName(op)
			err := invoke(t.Context(), client, op, reflect.New(m.Type().In(1).Elem()))
			var missing smithy.InvalidParamsError
			if !errors.As(err, &missing) {
				continue
			}
			for _, e := range missing.Errs() {
				var param smithy.InvalidParamError
				if !errors.As(e, &param) {
					continue
				}
				_, field, _ := strings.Cut(param.Field(), ".")
				if member := s.Constraints.Structures[s.Constraints.Inputs[op]][field]; !member.Required {
					t.Errorf("%s %s: %s is required by the SDK and not here", s.Name, op, field)
				}
			}
		}
	}
}

// free are the operations that everybody who can sign may call.
var free = []string{"sts:GetCallerIdentity", "sts:GetSessionToken"}

// A user without any policy is refused by every operation, however well-formed the call: no handler can be reached past its
// authorization row.
func TestEveryOperationAsksForPermission(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	nobody := n.user(t, "nobody")
	// A key with a grant that somebody else may retire: what does not exist is "not found" to its own account.
	key, err := n.root.kms.CreateKey(t.Context(), &awskms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	grant, err := n.root.kms.CreateGrant(t.Context(), &awskms.CreateGrantInput{
		KeyId: key.KeyMetadata.Arn, GranteePrincipal: aws.String("arn:aws:iam::" + firstAccount + ":root"), Operations: []kmstypes.GrantOperation{"Decrypt"},
	})
	if err != nil {
		t.Fatal(err)
	}
	given := map[string]string{"KeyId": *key.KeyMetadata.Arn, "GrantId": *grant.GrantId}
	for _, s := range n.services() {
		client := nobody.of(s.Name)
		if client == nil {
			continue
		}
		have, _ := names(s)
		for _, op := range have {
			if slices.Contains(free, s.Name+":"+op) {
				continue
			}
			err := invoke(t.Context(), client, op, sampler{limits: s.Constraints, given: given}.input(t, client, op))
			if c := code(err); c != "AccessDenied" && c != "AccessDeniedException" {
				t.Errorf("%s %s: want an access denial, got %v", s.Name, op, err)
			}
		}
	}
}
