package kms

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"strongroom/internal/access"
	"strongroom/internal/arn"
	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/ident"
)

// Who manages a key.
const (
	ManagerCustomer = "CUSTOMER"
	ManagerAWS      = "AWS" // made and kept by the node for one service of one account
)

// Key is a symmetric encryption key without its material.
type Key struct {
	ID, Account, Region string
	Manager             string // ManagerCustomer or ManagerAWS
	State               State
	Description         string
	Policy              string // exactly as it was put
	Created             time.Time
	Deletion            time.Time // when it will be destroyed; zero unless pending deletion
	PendingDays         int
	RotationDays        int       // period of automatic rotation; 0: off
	NextRotation        time.Time // zero when rotation is off
	MaterialID          string    // of the current material, 64 hex digits
}

// ARN is the key's own name.
func (k Key) ARN() string { return keyARN(k.Account, k.Region, k.ID) }

func keyARN(account, region, id string) string {
	return arn.Make("kms", region, account, "key/"+id)
}

// NewKey says what key to make.
type NewKey struct {
	Region      string
	Policy      string // "" for the default policy, which leaves everything to the account's identity policies
	Description string
	Tags        map[string]string
	// BypassLockout skips the check that the caller can change the policy later.
	BypassLockout bool
}

// CreateKey makes an enabled key in the caller's account. A policy that does not parse, names principals that do not exist or
// would lock the caller out is Invalid with CodeMalformedPolicy.
func (s *Service) CreateKey(ctx context.Context, caller access.Principal, n NewKey) (Key, error) {
	if len(n.Description) > 8192 {
		return Key{}, errInvalid("Description must not be longer than 8192 characters")
	}
	if err := validTags(n.Tags, 0); err != nil {
		return Key{}, err
	}
	k := Key{ID: ident.UUID(), Account: caller.Account, Region: n.Region, Manager: ManagerCustomer, State: Enabled, Description: n.Description, Policy: n.Policy}
	if k.Policy == "" {
		k.Policy = DefaultPolicy(k.Account)
	} else if err := s.validPolicy(ctx, caller, k, n.BypassLockout, k.Policy); err != nil {
		return Key{}, err
	}
	err := s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		return s.insertKey(ctx, tx, &k, n.Tags)
	})
	return k, err
}

func (s *Service) insertKey(ctx context.Context, tx *db.Tx, k *Key, tags map[string]string) error {
	k.Created = tx.Now
	_, err := tx.Exec(ctx, `INSERT INTO kms_key (id, account, region, manager, state, description, policy, created, deletion, pending_days, rotation_days, next_rotation)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?, ?)`,
		k.ID, k.Account, k.Region, k.Manager, string(k.State), k.Description, k.Policy, db.Micros(k.Created), k.RotationDays, db.Micros(k.NextRotation))
	if err != nil {
		return fmt.Errorf("insert key: %w", err)
	}
	if k.MaterialID, err = s.addMaterial(ctx, tx, *k, causeInitial); err != nil {
		return err
	}
	return putTags(ctx, tx, k.ID, tags)
}

// Describe returns the key; NotFound when there is none, also after its destruction.
func (s *Service) Describe(ctx context.Context, keyARN string) (Key, error) {
	var k Key
	err := s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		k, err = keyByARN(ctx, tx, keyARN)
		return err
	})
	return k, err
}

// UpdateDescription replaces the description.
func (s *Service) UpdateDescription(ctx context.Context, keyARN, description string) error {
	if len(description) > 8192 {
		return errInvalid("Description must not be longer than 8192 characters")
	}
	return s.change(ctx, keyARN, toManage, func(ctx context.Context, tx *db.Tx, k *Key) error {
		k.Description = description
		return nil
	})
}

// Keys lists the account's keys in the region by id: at most limit after the id `after`, and whether there are more.
func (s *Service) Keys(ctx context.Context, account, region, after string, limit int) (keys []Key, more bool, err error) {
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		rows, err := tx.Query(ctx, selectKey+" WHERE k.account = ? AND k.region = ? AND k.id > ? ORDER BY k.id LIMIT ?", account, region, after, limit+1)
		if err != nil {
			return fmt.Errorf("list keys: %w", err)
		}
		keys, err = scanKeys(rows)
		return err
	})
	if len(keys) > limit {
		return keys[:limit], true, err
	}
	return keys, false, err
}

// change is the frame of every operation that alters a key's row: it finds the key, checks that its state allows what is
// needed, runs fn and stores the row.
func (s *Service) change(ctx context.Context, keyARN string, need need, fn func(context.Context, *db.Tx, *Key) error) error {
	return s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		k, err := keyByARN(ctx, tx, keyARN)
		if err != nil {
			return err
		}
		if k.Manager == ManagerAWS {
			return fault.New(fault.Denied, "%s is managed by the service that uses it and cannot be changed.", k.ARN()).WithResource(k.ARN())
		}
		if err := k.allows(need); err != nil {
			return err
		}
		if err := fn(ctx, tx, &k); err != nil {
			return err
		}
		return updateKey(ctx, tx, k)
	})
}

func updateKey(ctx context.Context, tx *db.Tx, k Key) error {
	_, err := tx.Exec(ctx, "UPDATE kms_key SET state = ?, description = ?, policy = ?, deletion = ?, pending_days = ?, rotation_days = ?, next_rotation = ? WHERE id = ?",
		string(k.State), k.Description, k.Policy, db.Micros(k.Deletion), k.PendingDays, k.RotationDays, db.Micros(k.NextRotation), k.ID)
	if err != nil {
		return fmt.Errorf("update key: %w", err)
	}
	return nil
}

const selectKey = `SELECT k.id, k.account, k.region, k.manager, k.state, k.description, k.policy, k.created, k.deletion, k.pending_days, k.rotation_days, k.next_rotation,
	(SELECT m.id FROM kms_material m WHERE m.key = k.id ORDER BY m.ordinal DESC LIMIT 1) FROM kms_key k`

func scanKeys(rows *sql.Rows) ([]Key, error) {
	defer rows.Close()
	var out []Key
	for rows.Next() {
		var k Key
		var created, deletion, next int64
		if err := rows.Scan(&k.ID, &k.Account, &k.Region, &k.Manager, &k.State, &k.Description, &k.Policy, &created, &deletion, &k.PendingDays, &k.RotationDays, &next, &k.MaterialID); err != nil {
			return nil, err
		}
		k.Created, k.Deletion, k.NextRotation = db.Time(created), db.Time(deletion), db.Time(next)
		out = append(out, k)
	}
	return out, rows.Err()
}

// keyByARN finds a key by its full ARN: the account and region of the ARN must be the key's.
func keyByARN(ctx context.Context, tx *db.Tx, name string) (Key, error) {
	account, region, id, err := splitKeyARN(name)
	if err != nil {
		return Key{}, err
	}
	k, err := keyByID(ctx, tx, id)
	if err != nil {
		return Key{}, err
	}
	if k.ID == "" || k.Account != account || k.Region != region {
		return Key{}, errNoKey(name)
	}
	return k, nil
}

// keyByID returns the zero Key when there is none.
func keyByID(ctx context.Context, tx *db.Tx, id string) (Key, error) {
	rows, err := tx.Query(ctx, selectKey+" WHERE k.id = ?", id)
	if err != nil {
		return Key{}, fmt.Errorf("read key: %w", err)
	}
	keys, err := scanKeys(rows)
	if err != nil {
		return Key{}, fmt.Errorf("read key: %w", err)
	}
	if len(keys) == 0 {
		return Key{}, nil
	}
	return keys[0], nil
}
