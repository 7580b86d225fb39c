package backup

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"strongroom/internal/arn"
	"strongroom/internal/db"
	"strongroom/internal/fault"
)

const maxTags = 50 // per tagged thing

// validTags checks the tags of one request.
func validTags(tags map[string]string) error {
	for k, v := range tags {
		if err := validTag(k, v); err != nil {
			return err
		}
	}
	if len(tags) > maxTags {
		return errTagLimit()
	}
	return nil
}

func validTag(k, v string) error {
	switch {
	case k == "" || utf8.RuneCountInString(k) > 128:
		return fault.New(fault.Invalid, "Invalid tag key %q: it must have 1 to 128 characters.", k)
	case utf8.RuneCountInString(v) > 256:
		return fault.New(fault.Invalid, "Invalid value of tag %q: it must have at most 256 characters.", k)
	case strings.HasPrefix(strings.ToLower(k), "aws:"):
		return fault.New(fault.Invalid, "Invalid tag key %q: the prefix aws: is reserved.", k)
	case !utf8.ValidString(k) || !utf8.ValidString(v):
		return fault.New(fault.Invalid, "Invalid tag %q: it is not UTF-8.", k)
	}
	return nil
}

func errTagLimit() error {
	return fault.New(fault.Limit, "The resultant tag set must not have more than %d user tags.", maxTags)
}

// putTags replaces all tags of an ARN.
func putTags(ctx context.Context, tx *db.Tx, name string, tags map[string]string) error {
	if len(tags) == 0 {
		return deleteTags(ctx, tx, name)
	}
	text, err := json.Marshal(tags)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "INSERT INTO backup_tag (arn, tags) VALUES (?, ?) ON CONFLICT (arn) DO UPDATE SET tags = excluded.tags", name, string(text))
	return err
}

// tagsOf reads the tags of an ARN; an empty map when it has none.
func tagsOf(ctx context.Context, tx *db.Tx, name string) (map[string]string, error) {
	var text string
	err := tx.QueryRow(ctx, "SELECT tags FROM backup_tag WHERE arn = ?", name).Scan(&text)
	if db.NoRows(err) {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeTags(text)
}

func decodeTags(text string) (map[string]string, error) {
	tags := map[string]string{}
	return tags, json.Unmarshal([]byte(text), &tags)
}

// deleteTags removes all tags of an ARN.
func deleteTags(ctx context.Context, tx *db.Tx, name string) error {
	_, err := tx.Exec(ctx, "DELETE FROM backup_tag WHERE arn = ?", name)
	return err
}

// taggable checks that the ARN names a vault, a plan or a recovery point of the account in the region.
func taggable(ctx context.Context, tx *db.Tx, account, region, name string) error {
	if _, err := arn.Parse(name); err != nil {
		return fault.New(fault.Invalid, "Invalid ResourceArn %q: %v.", name, err)
	}
	var found bool
	var err error
	if a, r, vaultName, ok := ParseVaultARN(name); ok {
		if a == account && r == region {
			_, err = vault(ctx, tx, account, region, vaultName)
			found = err == nil
		}
	} else if a, r, id, ok := parsePlanARN(name); ok {
		if a == account && r == region {
			found, err = planExists(ctx, tx, account, region, id)
		}
	} else {
		err = tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM recovery_point WHERE arn = ? AND account = ? AND region = ?)", name, account, region).Scan(&found)
	}
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if !found {
		return fault.New(fault.NotFound, "Resource %s does not exist.", name).WithResource(name)
	}
	return nil
}

// Tags lists the tags of a vault, plan or recovery point by key. Errors: NotFound, Invalid.
func (s *Service) Tags(ctx context.Context, account, region, name string, p Page) (tags map[string]string, next string, err error) {
	at := []string{"tags", account, region, name}
	c, started, err := s.start(p, at...)
	if err != nil {
		return nil, "", err
	}
	var all map[string]string
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := taggable(ctx, tx, account, region, name); err != nil {
			return err
		}
		all, err = tagsOf(ctx, tx, name)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	tags = map[string]string{}
	last := ""
	for _, k := range slices.Sorted(maps.Keys(all)) {
		if started && k <= c.ID {
			continue
		}
		if len(tags) == p.size() {
			return tags, s.token(cursor{ID: last}, at...), nil
		}
		tags[k], last = all[k], k
	}
	return tags, "", nil
}

// AddTags adds tags to a vault, plan or recovery point, replacing values of keys that it has. Errors: NotFound, Invalid, Limit.
func (s *Service) AddTags(ctx context.Context, account, region, name string, tags map[string]string) error {
	if err := validTags(tags); err != nil {
		return err
	}
	return s.changeTags(ctx, account, region, name, func(have map[string]string) error {
		maps.Copy(have, tags)
		if len(have) > maxTags {
			return errTagLimit()
		}
		return nil
	})
}

// RemoveTags removes tags by key; keys that are not there are ignored. Errors: NotFound, Invalid.
func (s *Service) RemoveTags(ctx context.Context, account, region, name string, keys []string) error {
	return s.changeTags(ctx, account, region, name, func(have map[string]string) error {
		for _, k := range keys {
			delete(have, k)
		}
		return nil
	})
}

func (s *Service) changeTags(ctx context.Context, account, region, name string, change func(map[string]string) error) error {
	return s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := taggable(ctx, tx, account, region, name); err != nil {
			return err
		}
		have, err := tagsOf(ctx, tx, name)
		if err != nil {
			return err
		}
		if err := change(have); err != nil {
			return err
		}
		return putTags(ctx, tx, name, have)
	})
}

// planExists reports whether the account has a plan of that id in the region.
func planExists(ctx context.Context, tx *db.Tx, account, region, id string) (found bool, err error) {
	err = tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM plan WHERE account = ? AND region = ? AND id = ? AND deleted = 0)", account, region, id).Scan(&found)
	return found, err
}
