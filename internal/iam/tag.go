package iam

import (
	"context"
	"slices"
	"strings"

	"strongroom/internal/db"
	"strongroom/internal/fault"
)

// Tag is one tag of an entity, for lists in a fixed order.
type Tag struct{ Key, Value string }

func tagsOf(ctx context.Context, tx *db.Tx, owner string) (map[string]string, error) {
	rows, err := tx.Query(ctx, `SELECT tag, value FROM iam_tags WHERE owner = ?`, owner)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out map[string]string
	for rows.Next() {
		var k, v string
		if err := rows.Scan(&k, &v); err != nil {
			return nil, err
		}
		if out == nil {
			out = map[string]string{}
		}
		out[k] = v
	}
	return out, rows.Err()
}

// putTags sets tags, keeping others, and refuses more than the quota. A key that differs only in case replaces the old one.
func (s *Service) putTags(ctx context.Context, tx *db.Tx, owner string, tags map[string]string) error {
	if err := checkTags(tags); err != nil {
		return err
	}
	for k, v := range tags {
		if _, err := tx.Exec(ctx, `INSERT INTO iam_tags (owner, tag_fold, tag, value) VALUES (?, ?, ?, ?)
			ON CONFLICT (owner, tag_fold) DO UPDATE SET tag = excluded.tag, value = excluded.value`, owner, fold(k), k, v); err != nil {
			return err
		}
	}
	n, err := count(ctx, tx, `SELECT count(*) FROM iam_tags WHERE owner = ?`, owner)
	if err == nil && n > s.limits.TagsPerEntity {
		return fault.New(fault.Limit, "The number of tags has reached the maximum limit.")
	}
	return err
}

func dropTags(ctx context.Context, tx *db.Tx, owner string, keys []string) error {
	for _, k := range keys {
		if _, err := tx.Exec(ctx, `DELETE FROM iam_tags WHERE owner = ? AND tag_fold = ?`, owner, fold(k)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) pageTags(owner string, p Page, tags map[string]string) ([]Tag, string, error) {
	return slice(s, "tags\x00"+owner, p, SortTags(tags), func(t Tag) string { return fold(t.Key) })
}

// TagEntity adds or replaces tags of a user or role. Codes: NotFound, Invalid, Limit, State/UnmodifiableEntity.
func (s *Service) TagEntity(ctx context.Context, account string, r Ref, tags map[string]string) error {
	return s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		e, err := findToChange(ctx, tx, account, r)
		if err != nil {
			return err
		}
		return s.putTags(ctx, tx, e.id, tags)
	})
}

// UntagEntity removes tags; keys that are not there are ignored.
func (s *Service) UntagEntity(ctx context.Context, account string, r Ref, keys []string) error {
	return s.update(ctx, account, func(ctx context.Context, tx *db.Tx) error {
		e, err := findToChange(ctx, tx, account, r)
		if err != nil {
			return err
		}
		return dropTags(ctx, tx, e.id, keys)
	})
}

// EntityTags lists the tags of a user or role in the order of their keys.
func (s *Service) EntityTags(ctx context.Context, account string, r Ref, p Page) (list []Tag, next string, err error) {
	err = s.db.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		e, err := find(ctx, tx, account, r)
		if err != nil {
			return err
		}
		tags, err := tagsOf(ctx, tx, e.id)
		if err != nil {
			return err
		}
		list, next, err = s.pageTags(e.id, p, tags)
		return err
	})
	return list, next, err
}

// SortTags lists tags in the order of their keys.
func SortTags(tags map[string]string) []Tag {
	list := make([]Tag, 0, len(tags))
	for k, v := range tags {
		list = append(list, Tag{k, v})
	}
	slices.SortFunc(list, func(a, b Tag) int { return strings.Compare(fold(a.Key), fold(b.Key)) })
	return list
}
