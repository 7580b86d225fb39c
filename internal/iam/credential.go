package iam

import (
	"context"
	"maps"
	"strings"
	"time"

	"strongroom/internal/access"
	"strongroom/internal/arn"
	"strongroom/internal/db"
	"strongroom/internal/fault"
)

// credential is a long-term key as authentication needs it.
type credential struct {
	secret    string
	active    bool
	principal access.Principal
}

// unknownKey is the one answer for every credential that does not count, so that nobody learns which keys exist.
func unknownKey() error {
	return fault.New(fault.NotFound, "The security token included in the request is invalid.")
}

// Credential returns the secret and the principal of an access key. NotFound covers all of: unknown key, inactive key, a
// long-term key with a token, a temporary key without its own token, a principal that is gone, a role whose sessions were
// revoked. expires is zero for long-term keys; the caller must check it after the signature. It writes nothing.
func (s *Service) Credential(ctx context.Context, accessKeyID, sessionToken string) (secret string, p access.Principal, expires time.Time, err error) {
	switch {
	case len(accessKeyID) != 20:
		return "", p, expires, unknownKey()
	case strings.HasPrefix(accessKeyID, prefixKey) && sessionToken == "":
		secret, p, err = s.longTerm(ctx, accessKeyID)
		return secret, p, expires, err
	case strings.HasPrefix(accessKeyID, prefixTemporary) && sessionToken != "":
		c, err := s.openToken(accessKeyID, sessionToken)
		if err != nil {
			return "", p, expires, unknownKey()
		}
		p, err = s.sessionPrincipal(ctx, accessKeyID, c)
		if err != nil {
			if fault.Is(err, fault.NotFound) {
				err = unknownKey()
			}
			return "", access.Principal{}, expires, err
		}
		return c.Secret, p, c.expires(), nil
	}
	return "", p, expires, unknownKey()
}

func (s *Service) longTerm(ctx context.Context, id string) (string, access.Principal, error) {
	c, err := cached(ctx, s, "key\x00"+id, func(ctx context.Context, tx *db.Tx) (*credential, []string, error) {
		return s.loadCredential(ctx, tx, id)
	})
	if err != nil {
		return "", access.Principal{}, err
	}
	if !c.active {
		return "", access.Principal{}, unknownKey()
	}
	return c.secret, c.principal, nil
}

func (s *Service) loadCredential(ctx context.Context, tx *db.Tx, id string) (*credential, []string, error) {
	var account, owner string
	var active int64
	var sealed []byte
	err := tx.QueryRow(ctx, `SELECT account, owner, active, secret FROM iam_access_keys WHERE id = ?`, id).Scan(&account, &owner, &active, &sealed)
	if db.NoRows(err) {
		return nil, nil, unknownKey()
	}
	if err != nil {
		return nil, nil, err
	}
	plain, err := s.secrets.Open(purposeAccessKey, sealed, id)
	if err != nil {
		return nil, nil, fault.New(fault.Corrupt, "the secret of access key %s cannot be opened", id).WithCause(err)
	}
	c := &credential{secret: string(plain), active: active == 1}
	if owner == account {
		c.principal = rootPrincipal(account)
	} else {
		e := entity{kind: KindUser}
		if err := tx.QueryRow(ctx, `SELECT `+KindUser.columns()+` FROM iam_users WHERE id = ?`, owner).Scan(e.scan()...); err != nil {
			if db.NoRows(err) {
				return nil, nil, unknownKey()
			}
			return nil, nil, err
		}
		tags, err := tagsOf(ctx, tx, e.id)
		if err != nil {
			return nil, nil, err
		}
		c.principal = userPrincipal(e, tags)
	}
	c.principal.AccessKeyID = id
	return c, []string{account}, nil
}

func rootPrincipal(account string) access.Principal {
	return access.Principal{Kind: access.Root, Account: account, ARN: arn.Root(account), ID: account, Name: "root"}
}

func userPrincipal(e entity, tags map[string]string) access.Principal {
	return access.Principal{Kind: access.User, Account: e.account, ARN: e.arn(), ID: e.id, Name: e.name, Tags: tags}
}

func rolePrincipal(e *identity, session string) access.Principal {
	return access.Principal{
		Kind: access.Role, Account: e.account, ARN: arn.Make("sts", "", e.account, "assumed-role/"+e.name+"/"+session),
		ID: e.id + ":" + session, Name: e.name, RoleARN: e.arn(), SessionName: session, ServiceLinked: e.service != "", Tags: e.tags,
	}
}

// sessionPrincipal turns a token's claims into the principal as it is now; NotFound when it is gone or revoked.
func (s *Service) sessionPrincipal(ctx context.Context, accessKeyID string, c *claims) (p access.Principal, err error) {
	switch c.As {
	case actsAsRole:
		e, err := s.identity(ctx, c.Account, KindRole, c.ID)
		if err != nil {
			return p, err
		}
		if !c.issued().After(e.validFrom) {
			return p, unknownKey()
		}
		p = rolePrincipal(e, c.Session)
		if len(c.Tags) > 0 {
			p.Tags = make(map[string]string, len(e.tags)+len(c.Tags))
			maps.Copy(p.Tags, e.tags)
			for k, v := range c.Tags {
				setTag(p.Tags, k, v)
			}
		}
		if p.SessionPolicies, err = s.sessionPolicies(ctx, c); err != nil {
			return p, err
		}
		p.SourceIdentity, p.TransitiveTags = c.SourceID, c.Pass
	case actsAsUser:
		e, err := s.identity(ctx, c.Account, KindUser, c.ID)
		if err != nil {
			return p, err
		}
		p = userPrincipal(e.entity, e.tags)
	case actsAsRoot:
		p = rootPrincipal(c.Account)
	default:
		return p, unknownKey()
	}
	p.AccessKeyID, p.Issued = accessKeyID, c.issued()
	if c.MFA != 0 {
		p.MFA = time.UnixMicro(c.MFA).UTC()
	}
	return p, nil
}

// setTag overlays one tag; keys differ only if they do without regard to case.
func setTag(tags map[string]string, key, value string) {
	for k := range tags {
		if k != key && fold(k) == fold(key) {
			delete(tags, k)
		}
	}
	tags[key] = value
}

// sessionPolicies resolves the session policies of a token: nil when it has none. A managed policy that is gone allows nothing.
func (s *Service) sessionPolicies(ctx context.Context, c *claims) ([]string, error) {
	if !c.Limited {
		return nil, nil
	}
	out := make([]string, 0, 1+len(c.Managed))
	if c.Inline != "" {
		out = append(out, c.Inline)
	}
	for _, a := range c.Managed {
		text, err := s.managedText(ctx, c.Account, a)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, text)
	}
	return out, nil
}

func (s *Service) managedText(ctx context.Context, account, policyARN string) (string, error) {
	if m, ok := s.aws.byARN[policyARN]; ok {
		return m.document, nil
	}
	return cached(ctx, s, "policy\x00"+account+"\x00"+policyARN, func(ctx context.Context, tx *db.Tx) (string, []string, error) {
		text, err := defaultDocument(ctx, tx, account, policyARN)
		return text, []string{account}, err
	})
}
