package authz

import (
	"strconv"
	"strings"
	"time"

	"strongroom/internal/access"
	"strongroom/internal/policy"
)

// ownKeys are the beginnings of condition keys that only this package may set: they describe the caller, its connection
// and the owner of the resource. What a check or a lookup says about them is ignored.
var ownKeys = [...]string{
	"aws:principal", "aws:userid", "aws:username", "aws:sourceip", "aws:securetransport", "aws:currenttime",
	"aws:epochtime", "aws:useragent", "aws:requestedregion", "aws:tokenissuetime", "aws:multifactorauth",
	"aws:viaawsservice", "aws:calledvia", "aws:sourceidentity", "aws:resourceaccount", "aws:resourceorg",
	"kms:viaservice", "kms:calleraccount",
}

// callerContext returns the keys that depend on the caller and its connection only.
func callerContext(p *access.Principal, env *access.Env, place policy.Place) access.Context {
	c := make(access.Context, 40)
	principalContext(c, p, place)
	if p.Kind != access.Service && p.Kind != access.Anonymous {
		sessionContext(c, p, env.Now)
	}
	c.Set("aws:CurrentTime", env.Now.UTC().Format(time.RFC3339))
	c.Set("aws:EpochTime", strconv.FormatInt(env.Now.Unix(), 10))
	c.Set("aws:RequestedRegion", env.Region)
	c.Set("aws:UserAgent", env.UserAgent)
	c.Set("aws:SecureTransport", strconv.FormatBool(env.Secure))
	// A service that calls with the caller's own credentials (they signed the request that set it off) is "via"; one that
	// acts with a role it assumed is not.
	forwarded := env.ViaService != "" && p.AccessKeyID != ""
	c.Set("aws:ViaAWSService", strconv.FormatBool(forwarded))
	if forwarded {
		c.Set("aws:CalledVia", env.ViaService)
		c.Set("aws:CalledViaFirst", env.ViaService)
		c.Set("aws:CalledViaLast", env.ViaService)
	}
	if env.ViaService == "" {
		c.Set("aws:SourceIp", env.SourceIP)
	}
	return c
}

func principalContext(c access.Context, p *access.Principal, place policy.Place) {
	isService := p.Kind == access.Service
	c.Set("aws:PrincipalIsAWSService", strconv.FormatBool(isService))
	switch p.Kind {
	case access.Service:
		c.Set("aws:PrincipalServiceName", p.ARN)
		c.Set("aws:PrincipalServiceNamesList", p.ARN)
		return
	case access.Anonymous:
		c.Set("aws:PrincipalAccount", "anonymous")
		c.Set("aws:PrincipalType", "Anonymous")
		return
	case access.Root:
		c.Set("aws:PrincipalType", "Account")
	case access.User:
		c.Set("aws:PrincipalType", "User")
		c.Set("aws:username", p.Name)
	case access.Role:
		c.Set("aws:PrincipalType", "AssumedRole")
	}
	c.Set("aws:PrincipalAccount", p.Account)
	c.Set("aws:PrincipalArn", p.PolicyARN())
	c.Set("aws:userid", p.ID)
	c.Set("aws:PrincipalOrgID", place.OrgID)
	c.Set("aws:PrincipalOrgPaths", place.OrgPath)
	for k, v := range p.Tags {
		c["aws:PrincipalTag/"+k] = []string{v} // an empty value is a value
	}
}

// sessionContext sets the keys of temporary credentials; long-term keys have none of them, not even a false one.
func sessionContext(c access.Context, p *access.Principal, now time.Time) {
	c.Set("aws:SourceIdentity", p.SourceIdentity)
	if p.Issued.IsZero() {
		return
	}
	c.Set("aws:TokenIssueTime", p.Issued.UTC().Format(time.RFC3339))
	c.Set("aws:MultiFactorAuthPresent", strconv.FormatBool(!p.MFA.IsZero()))
	if !p.MFA.IsZero() {
		c.Set("aws:MultiFactorAuthAge", strconv.FormatInt(int64(max(now.Sub(p.MFA), 0)/time.Second), 10))
	}
}

// context merges the keys of a check: what the check and the lookup say, under what this package knows itself.
func (g *gathering) context(c *access.Check, res *Resource, owner string, place policy.Place) access.Context {
	out := make(access.Context, len(g.base)+len(c.Context)+len(res.Context)+len(res.Tags)+8)
	for _, from := range [...]access.Context{c.Context, res.Context} {
		for k, v := range from {
			if !isOwnKey(k) {
				out[k] = v
			}
		}
	}
	for k, v := range g.base {
		out[k] = v
	}
	out.Set("aws:ResourceAccount", owner)
	out.Set("aws:ResourceOrgID", place.OrgID)
	out.Set("aws:ResourceOrgPaths", place.OrgPath)
	for k, v := range res.Tags {
		out["aws:ResourceTag/"+k] = []string{v}
	}
	if len(c.Action) > 4 && strings.EqualFold(c.Action[:4], "kms:") {
		out.Set("kms:CallerAccount", g.p.Account)
		if name, rest, ok := strings.Cut(g.env.ViaService, "."); ok {
			out.Set("kms:ViaService", name+"."+g.env.Region+"."+rest)
		}
	}
	return out
}

// isOwnKey reports whether k is one of ownKeys, without regard to case.
func isOwnKey(k string) bool {
	for _, own := range ownKeys {
		if len(k) >= len(own) && strings.EqualFold(k[:len(own)], own) {
			return true
		}
	}
	return false
}
