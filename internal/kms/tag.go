package kms

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"strongroom/internal/db"
	"strongroom/internal/fault"
)

const maxTags = 50

// validTags checks tags to be added to a key that has already some.
func validTags(tags map[string]string, have int) error {
	for k, v := range tags {
		switch {
		case k == "" || utf8.RuneCountInString(k) > 128 || utf8.RuneCountInString(v) > 256:
			return errInvalid("Tag keys have 1 to 128 characters and values up to 256: %q", k).WithCode(CodeTag)
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			return errInvalid("Tags beginning with aws: are reserved: %q", k).WithCode(CodeTag)
		}
	}
	if have+len(tags) > maxTags {
		return fault.New(fault.Limit, "A key has at most %d tags", maxTags)
	}
	return nil
}

// Tag adds tags or replaces their values.
func (s *Service) Tag(ctx context.Context, keyARN string, tags map[string]string) error {
	return s.change(ctx, keyARN, toManage, func(ctx context.Context, tx *db.Tx, k *Key) error {
		have, err := tagsOf(ctx, tx, k.ID)
		if err != nil {
			return err
		}
		for name := range tags {
			delete(have, name)
		}
		if err := validTags(tags, len(have)); err != nil {
			return err
		}
		return putTags(ctx, tx, k.ID, tags)
	})
}

// Untag removes tags; names that are not there are ignored.
func (s *Service) Untag(ctx context.Context, keyARN string, names []string) error {
	return s.change(ctx, keyARN, toManage, func(ctx context.Context, tx *db.Tx, k *Key) error {
		for _, n := range names {
			if _, err := tx.Exec(ctx, "DELETE FROM kms_tag WHERE key = ? AND name = ?", k.ID, n); err != nil {
				return fmt.Errorf("delete tag: %w", err)
			}
		}
		return nil
	})
}

// Tags returns the key's tags, never nil.
func (s *Service) Tags(ctx context.Context, keyARN string) (map[string]string, error) {
	var out map[string]string
	err := s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		k, err := keyByARN(ctx, tx, keyARN)
		if err != nil {
			return err
		}
		out, err = tagsOf(ctx, tx, k.ID)
		return err
	})
	return out, err
}

func putTags(ctx context.Context, tx *db.Tx, keyID string, tags map[string]string) error {
	for n, v := range tags {
		if _, err := tx.Exec(ctx, "INSERT INTO kms_tag (key, name, value) VALUES (?, ?, ?) ON CONFLICT (key, name) DO UPDATE SET value = excluded.value", keyID, n, v); err != nil {
			return fmt.Errorf("put tag: %w", err)
		}
	}
	return nil
}

func tagsOf(ctx context.Context, tx *db.Tx, keyID string) (map[string]string, error) {
	rows, err := tx.Query(ctx, "SELECT name, value FROM kms_tag WHERE key = ?", keyID)
	if err != nil {
		return nil, fmt.Errorf("read tags: %w", err)
	}
	defer rows.Close()
	out := map[string]string{}
	for rows.Next() {
		var n, v string
		if err := rows.Scan(&n, &v); err != nil {
			return nil, err
		}
		out[n] = v
	}
	return out, rows.Err()
}
