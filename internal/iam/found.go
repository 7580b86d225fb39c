package iam

import (
	"context"

	"strongroom/internal/db"
)

// Found is what authorization of IAM's own operations needs to know about the entity or policy that a request names.
type Found struct {
	Exists   bool
	ARN      string // with the path it has; of one that does not exist, with the path "/"
	Tags     map[string]string
	Boundary string // ARN of the permissions boundary, "" for none
}

// Find looks an entity up by its name. One that does not exist is no error.
func (s *Service) Find(ctx context.Context, account string, r Ref) (Found, error) {
	f := Found{ARN: entityARN(account, string(r.Kind), "/", r.Name)}
	err := s.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		e, err := find(ctx, tx, account, r)
		if err != nil {
			return missingIsNone(err)
		}
		f = Found{Exists: true, ARN: e.arn(), Boundary: e.boundary}
		f.Tags, err = tagsOf(ctx, tx, e.id)
		return err
	})
	return f, err
}

// FindByARN looks up a user, group, role or managed policy by its ARN; other ARNs are not found.
func (s *Service) FindByARN(ctx context.Context, resource string) (Found, error) {
	account, kind, _, name, ok := SplitARN(resource)
	f := Found{ARN: resource}
	switch {
	case !ok:
	case kind == string(KindUser) || kind == string(KindRole) || kind == string(KindGroup):
		e, err := s.Find(ctx, account, Ref{Kind(kind), name})
		if err != nil || e.ARN != resource {
			return f, err
		}
		return e, nil
	case kind == "policy":
		err := s.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
			p, err := s.findPolicy(ctx, tx, account, resource)
			if err != nil {
				return missingIsNone(err)
			}
			f.Exists = true
			f.Tags, err = tagsOf(ctx, tx, p.ID)
			return err
		})
		return f, err
	}
	return f, nil
}

// NewARN is the ARN that a new entity or managed policy ("policy") of an account will have.
func NewARN(account, kind, path, name string) string {
	if path == "" {
		path = "/"
	}
	return entityARN(account, kind, path, name)
}
