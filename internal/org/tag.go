package org

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"strongroom/internal/db"
	"strongroom/internal/fault"
)

const maxTags = 50

// validTags checks tags to be added to a resource that has already some.
func validTags(tags map[string]string, have int) error {
	for k, v := range tags {
		switch {
		case k == "" || utf8.RuneCountInString(k) > 128 || utf8.RuneCountInString(v) > 256:
			return errInput("INVALID_PATTERN", "Tag keys have 1 to 128 characters and values up to 256: %q", k)
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			return errInput("INVALID_SYSTEM_TAGS_PARAMETER", "Tag keys that begin with aws: are reserved: %q", k)
		}
	}
	if have+len(tags) > maxTags {
		return errConstraint("MAX_TAG_LIMIT_EXCEEDED", "A resource has at most %d tags.", maxTags)
	}
	return nil
}

// taggable checks that id is a root, unit, account or policy of the organization.
func taggable(ctx context.Context, tx *db.Tx, o Organization, id string) error {
	if strings.HasPrefix(id, "p-") {
		_, err := ownPolicy(ctx, tx, o, id)
		if fault.Is(err, fault.NotFound) {
			return errNoTarget(id)
		}
		return err
	}
	if o.typeOf(id) == "" {
		return errNoTarget(id)
	}
	return targetExists(ctx, tx, o, id)
}

// Tag adds tags to a root, unit, account or policy, or replaces their values.
func (s *Service) Tag(ctx context.Context, callerID, id string, tags map[string]string) error {
	return s.update(ctx, callerID, manager, func(ctx context.Context, tx *db.Tx, o Organization) error {
		if err := taggable(ctx, tx, o, id); err != nil {
			return err
		}
		have, err := tagsOf(ctx, tx, o.ID, id)
		if err != nil {
			return err
		}
		for k := range tags {
			delete(have, k)
		}
		if err := validTags(tags, len(have)); err != nil {
			return err
		}
		return putTags(ctx, tx, o.ID, id, tags)
	})
}

// Untag removes tags; names that are not there are ignored.
func (s *Service) Untag(ctx context.Context, callerID, id string, names []string) error {
	return s.update(ctx, callerID, manager, func(ctx context.Context, tx *db.Tx, o Organization) error {
		if err := taggable(ctx, tx, o, id); err != nil {
			return err
		}
		for _, n := range names {
			if _, err := tx.Exec(ctx, "DELETE FROM org_tag WHERE org = ? AND target = ? AND name = ?", o.ID, id, n); err != nil {
				return fmt.Errorf("delete tag: %w", err)
			}
		}
		return nil
	})
}

// Tags returns the tags of a root, unit, account or policy, never nil.
func (s *Service) Tags(ctx context.Context, callerID, id string) (tags map[string]string, err error) {
	err = s.view(ctx, callerID, reader, func(ctx context.Context, tx *db.Tx, o Organization) error {
		if err := taggable(ctx, tx, o, id); err != nil {
			return err
		}
		tags, err = tagsOf(ctx, tx, o.ID, id)
		return err
	})
	return tags, err
}

func putTags(ctx context.Context, tx *db.Tx, org, target string, tags map[string]string) error {
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		if _, err := tx.Exec(ctx, "INSERT INTO org_tag (org, target, name, value) VALUES (?, ?, ?, ?) ON CONFLICT (org, target, name) DO UPDATE SET value = excluded.value", org, target, k, tags[k]); err != nil {
			return fmt.Errorf("put tag: %w", err)
		}
	}
	return nil
}

func tagsOf(ctx context.Context, tx *db.Tx, org, target string) (map[string]string, error) {
	rows, err := tx.Query(ctx, "SELECT name, value FROM org_tag WHERE org = ? AND target = ?", org, target)
	if err != nil {
		return nil, fmt.Errorf("read tags: %w", err)
	}
	defer rows.Close()
	out := map[string]string{}
	for rows.Next() {
		var k, v string
		if err := rows.Scan(&k, &v); err != nil {
			return nil, err
		}
		out[k] = v
	}
	return out, rows.Err()
}
