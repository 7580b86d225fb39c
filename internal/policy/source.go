package policy

import "strongroom/internal/access"

// Type is the role a policy plays in a decision, in the words of AWS's denial texts.
type Type string

// The policy types.
const (
	TypeSCP      Type = "service control policy"
	TypeRCP      Type = "resource control policy"
	TypeResource Type = "resource-based policy"
	TypeIdentity Type = "identity-based policy"
	TypeBoundary Type = "permissions boundary"
	TypeSession  Type = "session policy"
	TypeTrust    Type = "role trust policy"
	TypeGrant    Type = "grant"
)

// Source is one policy that takes part in a decision: a document and where it comes from.
type Source struct {
	// Type is set by Evaluate from the place in the Request; callers may fill it for their own use.
	Type Type
	// Name is the policy's ARN, or its name where it has no ARN (inline policies), or the ARN of the resource it is on.
	Name string
	// Owner is the account that can change the policy.
	Owner string
	// Doc is the parsed document. A nil Doc stands for a policy that could not be read: every request it would take part in
	// is denied.
	Doc *Document
}

// Identities is what IAM knows about a principal's permissions.
type Identities struct {
	Identity []Source // of the user and its groups, or of the role
	Boundary *Source  // nil: none is set
	// Session are the policies given when the session was made; their union applies. nil: none was given; empty and not
	// nil: nothing is allowed.
	Session []Source
}

// Place is an account's place in its organization. The zero value is an account that is in none.
type Place struct {
	OrgID      string   // o-...
	OrgPath    string   // o-.../r-.../ou-.../ with the trailing slash
	Management bool     // the account is the management account: SCPs and RCPs do not bind it
	Levels     []string // ids from root to account, naming the levels of the SCPs; may be nil
	RCPs       []Source // resource control policies of all levels over the account's resources; only their denies matter
}

// Grant is a KMS grant on the key that a request concerns.
type Grant struct {
	ID             string
	Grantee        string   // ARN of a user, role, session or account root, or the name of a service principal
	IssuingAccount string   // the account whose principal created the grant
	Operations     []string // "Decrypt", "CreateGrant", ...
	// Equals and Subset constrain the encryption context of the request; nil means no such constraint.
	Equals, Subset map[string]string
}

// ResourceKind selects the rules for the resource's own policy.
type ResourceKind int

// The kinds of resource.
const (
	// Ordinary resources follow the common rules: in the same account either side may allow, across accounts both must.
	Ordinary ResourceKind = iota
	// KMSKey: identity policies count only as far as the key policy delegates to the account; grants may allow.
	KMSKey
	// RoleTrust: the resource policy is the role's trust policy and must allow in any case.
	RoleTrust
	// Vault: across accounts only backup:CopyIntoBackupVault is honoured.
	Vault
)

// Request is everything a decision depends on.
type Request struct {
	Principal access.Principal
	Check     access.Check
	// Context holds every condition key of the request; Check.Context is not consulted.
	Context access.Context
	// Identity are the policies of the user and its groups, or of the role.
	Identity []Source
	// Boundary and Session limit what identity policies allow. nil: no limit applies. Empty and not nil: nothing is allowed.
	Boundary, Session []Source
	// SCPs are the service control policies over the principal's account, one list per level from root to account; every
	// level must allow. nil: none apply.
	SCPs [][]Source
	// Levels names the levels of SCPs for explanations; may be nil.
	Levels []string
	// RCPs are the resource control policies over the resource's account.
	RCPs []Source
	// Resource is the resource's own policy; nil: it has none.
	Resource        *Source
	ResourceAccount string
	ResourceKind    ResourceKind
	Grants          []Grant // KMSKey only
}
