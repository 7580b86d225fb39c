package iam

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"strongroom/internal/access"
	"strongroom/internal/arn"
	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/policy"
)

// AssumeRole is a request for a session of a role.
type AssumeRole struct {
	RoleARN, SessionName string
	Duration             time.Duration // 0 means an hour
	Policy               string        // inline session policy, "" for none
	PolicyARNs           []string      // managed session policies
	Tags                 map[string]string
	Transitive           []string // keys of Tags that go on to the next role in a chain
	ExternalID           string
	SourceIdentity       string
}

// Session is a set of temporary credentials.
type Session struct {
	AccessKeyID, Secret, Token string
	Expires                    time.Time
	ARN, ID                    string // of the session: arn:aws:sts::A:assumed-role/R/S and AROA...:S
	SourceIdentity             string
	PackedSize                 int // percent of what policies and tags may take
}

var (
	sessionName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
	externalID  = regexp.MustCompile(`^[\w+=,.@:/-]+$`)
)

const (
	shortestSession = 15 * time.Minute
	chainedSession  = time.Hour
)

// NotAssumable is the answer to everyone who may not assume a role, the same whether the role exists or not.
func NotAssumable(caller access.Principal, action, roleARN string) string {
	return "User: " + caller.ARN + " is not authorized to perform: " + action + " on resource: " + roleARN
}

// ValidateAssumeRole checks what can be checked without looking at the role, so that nothing about it shows. Codes: Invalid
// (also MalformedPolicyDocument), Denied for the root user.
func (s *Service) ValidateAssumeRole(caller access.Principal, in AssumeRole) error {
	if caller.Kind == access.Root {
		return fault.New(fault.Denied, "Roles may not be assumed by root accounts.")
	}
	if _, kind, _, name, ok := SplitARN(in.RoleARN); !ok || kind != string(KindRole) || name == "" {
		return invalid("%s is invalid", in.RoleARN)
	}
	if !sessionName.MatchString(in.SessionName) {
		return invalid(`1 validation error detected: Value '%s' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]{2,64}`, in.SessionName)
	}
	if n := len(in.ExternalID); n != 0 && (n < 2 || n > 1224 || !externalID.MatchString(in.ExternalID)) {
		return invalid(`1 validation error detected: Value at 'externalId' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@:\/-]{2,1224}`)
	}
	if in.SourceIdentity != "" && !sessionName.MatchString(in.SourceIdentity) {
		return invalid(`1 validation error detected: Value at 'sourceIdentity' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]{2,64}`)
	}
	if d := in.Duration; d != 0 && (d < shortestSession || d > longestMaxSession) {
		return invalid("1 validation error detected: Value '%d' at 'durationSeconds' failed to satisfy constraint: Member must have value between 900 and 43200", d/time.Second)
	}
	if caller.Kind == access.Role && in.Duration > chainedSession {
		return invalid("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
	}
	if caller.SourceIdentity != "" && in.SourceIdentity != "" && in.SourceIdentity != caller.SourceIdentity {
		return fault.New(fault.Denied, "The source identity of a session cannot be changed by role chaining.")
	}
	return s.checkSession(caller, in)
}

// checkSession checks session policies and tags.
func (s *Service) checkSession(caller access.Principal, in AssumeRole) error {
	if in.Policy != "" {
		if policy.Size(in.Policy) > s.limits.SessionPolicySize {
			return invalid("1 validation error detected: Value at 'policy' failed to satisfy constraint: Member must have length less than or equal to %d", s.limits.SessionPolicySize)
		}
		if _, err := parseDocument(policy.SessionPolicy, in.Policy); err != nil {
			return err
		}
	}
	if len(in.PolicyARNs) > s.limits.SessionPolicies {
		return invalid("1 validation error detected: Value at 'policyArns' failed to satisfy constraint: Member must have length less than or equal to %d", s.limits.SessionPolicies)
	}
	if len(in.Tags) > s.limits.SessionTags {
		return invalid("1 validation error detected: Value at 'tags' failed to satisfy constraint: Member must have length less than or equal to %d", s.limits.SessionTags)
	}
	if err := checkTags(in.Tags); err != nil {
		return err
	}
	for _, k := range in.Transitive {
		if _, ok := in.Tags[k]; !ok {
			return invalid("The specified transitive tag key %s must be included in the requested tags.", k)
		}
	}
	for k := range in.Tags {
		if slices.ContainsFunc(caller.TransitiveTags, func(t string) bool { return fold(t) == fold(k) }) {
			return invalid("One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.")
		}
	}
	return nil
}

// AssumeRole issues a session of a role. Whether the caller may is decided before, by authorization with the role's trust
// policy; ValidateAssumeRole is repeated here. Codes: Invalid, Denied (also for a role that does not exist),
// Limit/PackedPolicyTooLarge.
func (s *Service) AssumeRole(ctx context.Context, caller access.Principal, region string, in AssumeRole) (Session, error) {
	if err := s.ValidateAssumeRole(caller, in); err != nil {
		return Session{}, err
	}
	e, err := s.roleByARN(ctx, in.RoleARN)
	if fault.Is(err, fault.NotFound) {
		return Session{}, fault.New(fault.Denied, "%s", NotAssumable(caller, "sts:AssumeRole", in.RoleARN))
	}
	if err != nil {
		return Session{}, err
	}
	if in.Duration == 0 {
		in.Duration = time.Hour
	}
	if in.Duration > e.maxSession {
		return Session{}, invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	for _, a := range in.PolicyARNs {
		if _, err := s.managedText(ctx, e.account, a); fault.Is(err, fault.NotFound) {
			return Session{}, invalid("Policy %s does not exist or is not attachable.", a)
		} else if err != nil {
			return Session{}, err
		}
	}
	c := claims{As: actsAsRole, Account: e.account, ID: e.id, Session: in.SessionName, Limited: in.Policy != "" || len(in.PolicyARNs) > 0,
		Inline: in.Policy, Managed: in.PolicyARNs, Tags: in.Tags, Pass: slices.Clone(in.Transitive), SourceID: in.SourceIdentity}
	inherit(&c, caller)
	packed, err := s.packedSize(c)
	if err != nil {
		return Session{}, err
	}
	out, err := s.issue(c, in.Duration)
	if err != nil {
		return Session{}, err
	}
	p := rolePrincipal(e, in.SessionName)
	out.ARN, out.ID, out.SourceIdentity, out.PackedSize = p.ARN, p.ID, c.SourceID, packed
	s.usage.role(e.id, s.clock.Now().UTC(), region)
	return out, nil
}

// inherit takes over what a calling session passes on along a chain of roles.
func inherit(c *claims, caller access.Principal) {
	if caller.Kind != access.Role {
		return
	}
	if c.SourceID == "" {
		c.SourceID = caller.SourceIdentity
	}
	if len(caller.TransitiveTags) == 0 {
		return
	}
	tags := make(map[string]string, len(c.Tags)+len(caller.TransitiveTags))
	for _, k := range caller.TransitiveTags {
		if v, ok := caller.Tags[k]; ok {
			tags[k] = v
			c.Pass = append(c.Pass, k)
		}
	}
	for k, v := range c.Tags {
		tags[k] = v
	}
	c.Tags = tags
}

// packedSize is the percentage of the permitted size that the session's policies and tags take when compressed.
func (s *Service) packedSize(c claims) (int, error) {
	if !c.Limited && len(c.Tags) == 0 {
		return 0, nil
	}
	data, err := json.Marshal(struct {
		P string
		A []string
		T map[string]string
	}{c.Inline, c.Managed, c.Tags})
	if err != nil {
		return 0, err
	}
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		return 0, err
	}
	if _, err := w.Write(data); err != nil {
		return 0, err
	}
	if err := w.Close(); err != nil {
		return 0, err
	}
	percent := (b.Len()*100 + s.limits.PackedPolicySize - 1) / s.limits.PackedPolicySize
	if percent > 100 {
		return 0, fault.New(fault.Limit, "Packed policy consumes %d%% of allotted space, please use smaller policy.", percent).WithCode(CodePackedPolicy)
	}
	return percent, nil
}

// issue makes the credentials for claims.
func (s *Service) issue(c claims, d time.Duration) (Session, error) {
	now := s.clock.Now().UTC()
	out := Session{Secret: newSecret(), Expires: now.Add(d).Truncate(time.Second)}
	c.Secret, c.Issued, c.Expires = out.Secret, now.UnixMicro(), out.Expires.Unix()
	var err error
	if out.AccessKeyID, err = newKeyID(prefixTemporary, c.Account); err != nil {
		return Session{}, err
	}
	out.Token, err = s.sealToken(out.AccessKeyID, c)
	return out, err
}

const (
	userSession        = 12 * time.Hour
	longestUserSession = 36 * time.Hour
	longestRootSession = time.Hour
)

// SessionToken issues temporary credentials of the calling user or root user, from a long-term key only.
func (s *Service) SessionToken(ctx context.Context, caller access.Principal, d time.Duration) (Session, error) {
	if caller.Kind != access.User && caller.Kind != access.Root || !caller.Issued.IsZero() {
		return Session{}, fault.New(fault.Denied, "Cannot call GetSessionToken with session credentials")
	}
	if d == 0 {
		d = userSession
	}
	if d < shortestSession || d > longestUserSession {
		return Session{}, invalid("1 validation error detected: Value '%d' at 'durationSeconds' failed to satisfy constraint: Member must have value between 900 and 129600", d/time.Second)
	}
	c := claims{As: actsAsUser, Account: caller.Account, ID: caller.ID}
	if caller.Kind == access.Root {
		c.As, d = actsAsRoot, min(d, longestRootSession)
	}
	return s.issue(c, d)
}

// Assumable reports whether the backup service can assume the role for account, with AWS's error when it cannot.
func (s *Service) Assumable(ctx context.Context, account, roleARN string) error {
	e, err := s.assumableBy(ctx, roleARN, "backup.amazonaws.com", "AWSBackup", account, "")
	if err == nil && e.account != account {
		return cannotAssume(roleARN, nil)
	}
	return err
}

// AssumeForService returns a session of a role whose trust policy lets the service principal assume it on behalf of
// sourceAccount and sourceARN ("" leaves the condition key out). The session has no credentials and does not end. Somebody chose the
// role and passed it, so guardrails bind the session, also when the role is the service's own: ServiceLinkedRole is for what
// the service does of itself.
func (s *Service) AssumeForService(ctx context.Context, roleARN, service, session, sourceAccount, sourceARN string) (access.Principal, error) {
	if !sessionName.MatchString(session) {
		return access.Principal{}, invalid("%q is not a role session name", session)
	}
	e, err := s.assumableBy(ctx, roleARN, service, session, sourceAccount, sourceARN)
	if err != nil {
		return access.Principal{}, err
	}
	s.usage.role(e.id, s.clock.Now().UTC(), "")
	p := s.session(e, session)
	p.ServiceLinked = false
	return p, nil
}

// RoleRefusal is in the chain of the error of a service that cannot assume a role, for the account that the role belongs to or
// would belong to.
type RoleRefusal struct {
	Service, RoleARN string
	Exists           bool            // the role
	Decision         policy.Decision // of its trust policy, when it exists
}

func (r *RoleRefusal) Error() string {
	why := "there is no such role"
	if r.Exists {
		why = r.Decision.Missing()
	}
	return fmt.Sprintf("principal %s; action sts:AssumeRole; resource %s; %s", r.Service, r.RoleARN, why)
}

// cannotAssume is AWS's answer, followed by why when that may be told.
func cannotAssume(roleARN string, why *RoleRefusal) error {
	if why == nil {
		return fault.New(fault.Invalid, "IAM Role %s cannot be assumed by AWS Backup", roleARN).WithResource(roleARN)
	}
	return fault.New(fault.Invalid, "IAM Role %s cannot be assumed by AWS Backup (%s)", roleARN, why).WithResource(roleARN).WithCause(why)
}

func (s *Service) assumableBy(ctx context.Context, roleARN, service, session, sourceAccount, sourceARN string) (*identity, error) {
	var why *RoleRefusal // nothing about the roles of other accounts
	if arn.AccountOf(roleARN) == sourceAccount {
		why = &RoleRefusal{Service: service, RoleARN: roleARN}
	}
	e, err := s.roleByARN(ctx, roleARN)
	if fault.Is(err, fault.NotFound) {
		return nil, cannotAssume(roleARN, why)
	}
	if err != nil {
		return nil, err
	}
	now := s.clock.Now().UTC()
	keys := access.Context{
		"aws:PrincipalIsAWSService": {"true"}, "aws:PrincipalServiceName": {service}, "aws:PrincipalServiceNamesList": {service},
		"aws:SecureTransport": {"true"}, "aws:CurrentTime": {now.Format(time.RFC3339)}, "aws:EpochTime": {strconv.FormatInt(now.Unix(), 10)},
		"aws:ResourceAccount": {e.account},
	}
	keys.Set("sts:RoleSessionName", session)
	keys.Set("aws:SourceAccount", sourceAccount)
	keys.Set("aws:SourceArn", sourceARN)
	for k, v := range e.tags {
		keys.Set("aws:ResourceTag/"+k, v)
	}
	d := policy.Evaluate(policy.Request{
		Principal: access.Principal{Kind: access.Service, ARN: service, Name: service},
		Check:     access.Check{Action: "sts:AssumeRole", Resource: roleARN}, Context: keys,
		Resource: &e.trust, ResourceAccount: e.account, ResourceKind: policy.RoleTrust,
	})
	if !d.Allowed {
		if why != nil {
			why.Exists, why.Decision = true, d
		}
		return nil, cannotAssume(roleARN, why)
	}
	return e, nil
}

// flushRoles stores when roles were last assumed.
func flushRoles(ctx context.Context, tx *db.Tx, roles map[string]Use) error {
	for id, u := range roles {
		if _, err := tx.Exec(ctx, `UPDATE iam_roles SET last_used = ?, last_region = ? WHERE id = ? AND last_used < ?`, db.Micros(u.Time), u.Region, id, db.Micros(u.Time)); err != nil {
			return err
		}
	}
	return nil
}
