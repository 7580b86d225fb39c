package kms

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"strongroom/internal/arn"
	"strongroom/internal/db"
	"strongroom/internal/fault"
)

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// Ref is what a KeyId parameter stands for.
type Ref struct {
	// ARN is the key's; for an alias that leads nowhere it is the alias's own.
	ARN    string
	Alias  string // "alias/x" when the key was named by an alias
	Exists bool
}

// NotFound is the error for a Ref that does not exist. Callers of another account MUST NOT see it: for them a missing key and a
// forbidden one are the same.
func (r Ref) NotFound() error {
	if strings.Contains(r.ARN, ":alias/") {
		return errNoAlias(r.ARN)
	}
	return errNoKey(r.ARN)
}

// Resolve finds the key that a KeyId parameter of a request in region by account names: a key id, a key ARN, and, where the
// operation takes aliases, an alias name or alias ARN. A well-formed name of nothing is not an error, see Ref.Exists.
func (s *Service) Resolve(ctx context.Context, account, region, id string, aliases bool) (Ref, error) {
	owner, name := account, id
	if strings.HasPrefix(id, "arn:") {
		a, err := arn.Parse(id)
		if err != nil || a.Partition != "aws" || a.Service != "kms" || !arn.ValidAccount(a.Account) {
			return Ref{}, errInvalid("%s is not a valid key or alias ARN", id).WithCode(CodeInvalidArn)
		}
		if a.Region != region {
			return Ref{}, fault.New(fault.NotFound, "Invalid arn %s: this request is for region %s", a.Region, region).WithResource(id)
		}
		owner, name = a.Account, a.Resource
		if key, ok := strings.CutPrefix(name, "key/"); ok {
			name = key
		} else if !strings.HasPrefix(name, "alias/") {
			return Ref{}, errInvalid("%s is not a valid key or alias ARN", id).WithCode(CodeInvalidArn)
		}
	}
	if strings.HasPrefix(name, "alias/") {
		if !aliases {
			return Ref{}, errInvalid("This operation takes a key id or key ARN, not the alias %s", name).WithCode(CodeInvalidArn)
		}
		return s.resolveAlias(ctx, owner, region, name)
	}
	if !uuidForm.MatchString(name) {
		return Ref{}, fault.New(fault.NotFound, "Invalid keyId '%s'", name)
	}
	ref := Ref{ARN: keyARN(owner, region, name)}
	err := s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		var n int64
		if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM kms_key WHERE id = ? AND account = ? AND region = ?", name, owner, region).Scan(&n); err != nil {
			return fmt.Errorf("resolve key: %w", err)
		}
		ref.Exists = n == 1
		return nil
	})
	return ref, err
}

func (s *Service) resolveAlias(ctx context.Context, owner, region, name string) (Ref, error) {
	ref := Ref{ARN: arn.Make("kms", region, owner, name), Alias: name}
	err := s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		var key string
		err := tx.QueryRow(ctx, "SELECT key FROM kms_alias WHERE account = ? AND region = ? AND name = ?", owner, region, name).Scan(&key)
		if db.NoRows(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("resolve alias: %w", err)
		}
		ref.ARN, ref.Exists = keyARN(owner, region, key), true
		return nil
	})
	return ref, err
}

func splitKeyARN(name string) (account, region, id string, err error) {
	a, perr := arn.Parse(name)
	id, ok := strings.CutPrefix(a.Resource, "key/")
	if perr != nil || !ok || a.Partition != "aws" || a.Service != "kms" {
		return "", "", "", errInvalid("%s is not a valid key ARN", name).WithCode(CodeInvalidArn)
	}
	return a.Account, a.Region, id, nil
}
