package policy

import (
	"unicode"
)

// Kind says where a document is used, which decides what it may contain.
type Kind int

// The kinds of document.
const (
	Identity      Kind = iota // attached to users, groups and roles, managed or inline
	ResourceVault             // a backup vault's access policy
	ResourceOrg               // an organization's delegation policy
	KeyPolicy                 // a KMS key's policy
	TrustPolicy               // a role's trust policy
	SCP                       // service control policy
	RCP                       // resource control policy
	SessionPolicy             // given at AssumeRole
	Boundary                  // permissions boundary
)

func (k Kind) String() string { return kinds[k].name }

// presence says whether a statement may or must have an element.
type presence int

const (
	forbidden presence = iota
	optional
	required
)

// rules is what a kind of document may contain.
type rules struct {
	name string
	// maxBytes bounds the whole text. IAM's quotas count characters without white space over several policies (see Size), so
	// IAM enforces them itself; here is only the size that no document of the kind may have.
	maxBytes     int
	principal    presence
	notPrincipal bool // in Deny statements; never in Allow
	resource     presence
	notAction    bool
	strictSid    bool // letters and digits only, unique in the document
	denyOnly     bool
	plainActions bool   // no wildcards in Action
	service      string // the only service whose actions may be named; "" for any
	everyoneOnly bool   // Principal must be "*"
}

var kinds = [...]rules{
	Identity:      {name: "identity-based policy", maxBytes: 131072, resource: required, notAction: true, strictSid: true},
	SessionPolicy: {name: "session policy", maxBytes: 131072, resource: required, notAction: true, strictSid: true},
	Boundary:      {name: "permissions boundary", maxBytes: 131072, resource: required, notAction: true, strictSid: true},
	ResourceVault: {name: "vault access policy", maxBytes: 20480, principal: required, notPrincipal: true, resource: required, plainActions: true},
	ResourceOrg:   {name: "delegation policy", maxBytes: 40000, principal: required, resource: required},
	KeyPolicy:     {name: "key policy", maxBytes: 32768, principal: required, notPrincipal: true, resource: optional, notAction: true},
	TrustPolicy:   {name: "role trust policy", maxBytes: 4096, principal: required, strictSid: true, service: "sts"},
	SCP:           {name: "service control policy", maxBytes: 5120, resource: required, notAction: true},
	RCP:           {name: "resource control policy", maxBytes: 5120, principal: required, resource: required, denyOnly: true, everyoneOnly: true},
}

// Size counts the characters of text that are not white space, as IAM's quotas do: 6144 per managed policy; 2048 over all
// inline policies of a user, 5120 of a group, 10240 of a role; 2048 per trust policy.
func Size(text string) int {
	n := 0
	for _, r := range text {
		if !unicode.IsSpace(r) {
			n++
		}
	}
	return n
}
