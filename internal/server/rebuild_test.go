package server

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"filippo.io/age"

	"strongroom/internal/access"
	"strongroom/internal/backup"
	"strongroom/internal/blob"
	"strongroom/internal/blob/disk"
	"strongroom/internal/clock"
	"strongroom/internal/preflight"
	"strongroom/internal/recovery"
	"strongroom/internal/repo"
	"strongroom/internal/schedule"
	"strongroom/internal/tree"
	"strongroom/test/bar"
)

// known is what a recovery point must be after a rebuild, whatever became of the catalog.
type known struct {
	vault, id, resource string
	created, until      time.Time
	locked              bool
}

// estate is a node's directory with vaults whose content is known.
type estate struct {
	dir    string
	id     *age.X25519Identity
	points map[string]known // by ARN
	older  []string         // copies of the catalog, from before things were made
}

func (e *estate) config() Config {
	return Config{Data: e.dir, AccountID: firstAccount, RecoveryRecipient: e.id.Recipient().String()}
}

func (e *estate) secret(t *testing.T) *recovery.Secret {
	t.Helper()
	s, err := recovery.Identities([]byte(e.id.String()))
	check(t, err)
	return &s
}

// hollow is a tree of nothing but its root.
type hollow struct{}

func (hollow) Walk(_ context.Context, emit func(tree.Item) error) error {
	return emit(tree.Item{Entry: tree.Entry{Type: tree.Dir, Mode: 0o755, Nlink: 2, Mtime: 1, Ctime: 1}})
}

// vault makes a vault with its repository in a store, and n recovery points in it; every third is locked if lock is set.
func (e *estate) vault(t *testing.T, s *Server, account, name string, n int, lock bool, store blob.Store) {
	t.Helper()
	ctx := context.Background()
	_, err := catalogKeys{s}.Account(ctx, account)
	check(t, err)
	v, err := s.backup.CreateVault(ctx, access.Principal{Account: account}, access.Env{Region: "us-east-1"}, backup.VaultSpec{Name: name})
	check(t, err)
	root, wrapped, err := s.kms.GenerateDataKey(ctx, v.KeyARN, preflight.EncryptionContext(v.ARN()), repo.KeySize)
	check(t, err)
	forRecipient, err := recovery.ForRecipient(recovery.Keys{Vault: v.Repository, Root: root, Maint: s.maintenanceKey(v.Repository)}, e.id.Recipient().String())
	check(t, err)
	if store == nil {
		store, err = s.store("us-east-1", v.Repository)
		check(t, err)
	}
	r, err := repo.Create(ctx, repo.Config{Store: store, Vault: v.Repository, Root: root, Maint: s.maintenanceKey(v.Repository), Clock: clock.System{}},
		repo.Descriptor{Owner: account, Name: name, VaultARN: v.ARN(), Region: "us-east-1", Created: v.Created},
		[]repo.Envelope{{Kind: "kms", KeyID: v.KeyARN, Blob: wrapped}, forRecipient})
	check(t, err)
	made := time.Date(2026, 1, 2, 3, 4, 5, 678_000, time.UTC)
	var rows []backup.StoredPoint
	for i := range n {
		id := fmt.Sprintf("%s-%06d", name, i)
		k := known{vault: v.ARN(), id: id, resource: fmt.Sprintf("arn:aws:elasticfilesystem:us-east-1:%s:file-system/fs-%08x", account, i%7), created: made.Add(time.Duration(i) * time.Minute)}
		life := schedule.Lifecycle{}
		if i%2 == 0 {
			life.DeleteAfterDays = schedule.Days(3650 + int64(i%10))
			k.until = life.DeleteAt(k.created)
		}
		k.locked = lock && i%3 == 0
		arn := backup.PointARN(account, "us-east-1", id)
		detail := backup.PointDetail{ResourceName: "files", RoleARN: "arn:aws:iam::" + account + ":role/Backup", JobID: "job-" + id, CreatedBy: backup.Creator{PlanID: "plan"}, Lifecycle: life,
			Initiated: k.created, RestoreMetadata: map[string]string{"file-system-id": "fs-1"}}
		labels := detail.Labels(map[string]string{"number": strconv.Itoa(i)})
		_, err := r.Backup(ctx, hollow{}, repo.BackupOptions{ID: id, Meta: repo.Meta{
			Owner: account, ResourceARN: k.resource, RecoveryPointARN: arn, ResourceType: "EFS", Created: k.created, RetainUntil: k.until, Locked: k.locked, Labels: labels,
		}})
		check(t, err)
		rows = append(rows, backup.StoredPoint{ID: id, ARN: arn, ResourceARN: k.resource, ResourceType: "EFS", Created: k.created, Committed: k.created, RetainUntil: k.until, Labels: labels})
		e.points[arn] = k
	}
	check(t, r.Close())
	if lock {
		_, err := s.backup.AdoptVault(ctx, backup.StoredVault{Repository: v.Repository, Account: account, Region: "us-east-1", Name: name, Locked: true}, nil)
		check(t, err)
	}
	for part := range slices.Chunk(rows, 500) {
		_, err := s.backup.AdoptPoints(ctx, v.Repository, part, true)
		check(t, err)
	}
}

func newEstate(t *testing.T, points int) *estate {
	t.Helper()
	base := t.TempDir()
	id, err := age.GenerateX25519Identity()
	check(t, err)
	e := &estate{dir: filepath.Join(base, "node"), id: id, points: map[string]known{}}
	for i, make := range []func(*Server){
		func(*Server) {},
		func(s *Server) { e.vault(t, s, "111111111111", "prod", points, false, nil) },
		func(s *Server) {
			e.vault(t, s, "222222222222", "copies", points, true, nil)
			e.vault(t, s, "222222222222", "other", points, false, nil)
		},
	} {
		s, err := Open(context.Background(), e.config())
		check(t, err)
		make(s)
		check(t, s.Close())
		copied := filepath.Join(base, fmt.Sprintf("catalog-%d", i))
		raw, err := os.ReadFile(filepath.Join(e.dir, catalogFile))
		check(t, err)
		check(t, os.WriteFile(copied, raw, 0o600))
		e.older = append(e.older, copied)
	}
	return e
}

// harm is one thing that can become of a catalog.
type harm struct {
	name string
	do   func(t *testing.T, e *estate, rnd *rand.Rand)
}

// edit runs statements behind the node's back, with nothing that would keep the catalog consistent.
func edit(statements ...string) func(*testing.T, *estate, *rand.Rand) {
	return func(t *testing.T, e *estate, _ *rand.Rand) {
		t.Helper()
		d, err := sql.Open("sqlite", filepath.Join(e.dir, catalogFile))
		check(t, err)
		defer d.Close()
		for _, s := range statements {
			if _, err := d.Exec(s); err != nil {
				t.Fatalf("%s: %v", s, err)
			}
		}
	}
}

// flip changes n bytes of the catalog from page first on.
func flip(n int, first int64) func(*testing.T, *estate, *rand.Rand) {
	return func(t *testing.T, e *estate, rnd *rand.Rand) {
		t.Helper()
		file := filepath.Join(e.dir, catalogFile)
		raw, err := os.ReadFile(file)
		check(t, err)
		for range n {
			raw[first*4096+rnd.Int64N(int64(len(raw))-first*4096)] ^= 1 << rnd.IntN(8)
		}
		check(t, os.WriteFile(file, raw, 0o600))
	}
}

func replace(with func(e *estate) []byte) func(*testing.T, *estate, *rand.Rand) {
	return func(t *testing.T, e *estate, _ *rand.Rand) {
		t.Helper()
		check(t, os.WriteFile(filepath.Join(e.dir, catalogFile), with(e), 0o600))
	}
}

func older(i int) func(*testing.T, *estate, *rand.Rand) {
	return replace(func(e *estate) []byte { raw, _ := os.ReadFile(e.older[i]); return raw })
}

func harms() []harm {
	const swap = "CASE account WHEN '111111111111' THEN '222222222222' WHEN '222222222222' THEN '111111111111' ELSE account END"
	remove := func(name string) func(*testing.T, *estate, *rand.Rand) {
		return func(t *testing.T, e *estate, _ *rand.Rand) {
			t.Helper()
			check(t, os.Remove(filepath.Join(e.dir, name)))
		}
	}
	whole := func(e *estate) []byte { raw, _ := os.ReadFile(filepath.Join(e.dir, catalogFile)); return raw }
	return []harm{
		{"nothing", func(*testing.T, *estate, *rand.Rand) {}},
		{"the catalog is deleted", remove(catalogFile)},
		{"the catalog is empty", replace(func(*estate) []byte { return nil })},
		{"the catalog is cut in half", replace(func(e *estate) []byte { w := whole(e); return w[:len(w)/2] })},
		{"the catalog is cut to an odd length", replace(func(e *estate) []byte { w := whole(e); return w[:len(w)-4096-17] })},
		{"the catalog is zeros", replace(func(e *estate) []byte { return make([]byte, len(whole(e))) })},
		{"the catalog is text", replace(func(*estate) []byte { return []byte("#!/bin/sh\n") })},
		{"the seal is deleted", remove("keys/seal.key")},
		{"an old copy, of before the backup account", older(1)},
		{"an old copy, of before everything", older(0)},
		{"one flipped bit in the header", flip(1, 0)},
		{"3 flipped bits", flip(3, 1)},
		{"20 flipped bits", flip(20, 1)},
		{"100 flipped bits", flip(100, 1)},
		{"1000 flipped bits", flip(1000, 1)},
		{"1000 flipped bits, others", flip(1000, 2)},
		{"all recovery points are deleted", edit("DELETE FROM recovery_point")},
		{"half of the recovery points are deleted", edit("DELETE FROM recovery_point WHERE rowid % 2 = 0")},
		{"one recovery point is deleted", edit("DELETE FROM recovery_point WHERE rowid = 1")},
		{"all vaults are deleted", edit("DELETE FROM vault")},
		{"vaults and recovery points are deleted", edit("DELETE FROM vault", "DELETE FROM recovery_point", "DELETE FROM protected_resource")},
		{"one vault is deleted", edit("DELETE FROM vault WHERE name = 'copies'")},
		{"everything ended in 1970", edit("UPDATE recovery_point SET delete_at = 1, lifecycle = '{\"DeleteAfterDays\":1}'")},
		{"everything ended in 1970 and is EXPIRED", edit("UPDATE recovery_point SET delete_at = 1, status = 'EXPIRED'")},
		{"everything ends tomorrow", edit("UPDATE recovery_point SET delete_at = 1893456000000000, lifecycle = '{}'")},
		{"locks are taken off and everything ended in 1970", edit("UPDATE vault SET locked = 0, immutable = 0, lock_date = 0", "UPDATE recovery_point SET delete_at = 1")},
		{"vaults' tenants are swapped", edit("UPDATE vault SET account = " + swap)},
		{"recovery points' tenants are swapped", edit("UPDATE recovery_point SET account = " + swap)},
		{"all tenants are swapped", edit("UPDATE vault SET account = "+swap, "UPDATE recovery_point SET account = "+swap)},
		{"all recovery points are put into one vault", edit("UPDATE recovery_point SET account = '222222222222', vault = 'other'")},
		{"repositories are swapped", edit("UPDATE vault SET repository = repository || 'x' WHERE name <> 'prod'",
			"UPDATE vault SET repository = (SELECT substr(o.repository, 1, 36) FROM vault o WHERE o.name = 'other') WHERE name = 'copies'", "UPDATE vault SET repository = 'gone' WHERE name = 'other'")},
		{"a vault is renamed", edit("UPDATE vault SET name = 'prodigy' WHERE name = 'prod'", "UPDATE recovery_point SET vault = 'prodigy' WHERE vault = 'prod'")},
		{"vaults are moved to another region", edit("UPDATE vault SET region = 'eu-west-1'", "UPDATE recovery_point SET region = 'eu-west-1'")},
		{"recovery points are of other resources", edit("UPDATE recovery_point SET resource_arn = 'arn:aws:elasticfilesystem:us-east-1:111111111111:file-system/fs-ffffffff'")},
		{"recovery points have other ids", edit("UPDATE recovery_point SET point = 'x' || point")},
		{"recovery points were created in 1970", edit("UPDATE recovery_point SET created = 1")},
		{"recovery points have states that do not exist", edit("UPDATE recovery_point SET status = 'GONE'")},
		{"recovery points are STOPPED as missing", edit("UPDATE recovery_point SET status = 'STOPPED', status_message = 'The vault''s storage does not hold this recovery point: so it is said'")},
		{"KMS keys are deleted", edit("DELETE FROM kms_key")},
		{"KMS keys are altered", edit("UPDATE kms_material SET wrapped = zeroblob(length(wrapped))")},
		{"vaults are under other KMS keys", edit("UPDATE vault SET key_arn = 'arn:aws:kms:us-east-1:111111111111:key/00000000-0000-0000-0000-000000000000'")},
		{"the root key is deleted", edit("DELETE FROM kms_root")},
		{"the accounts are deleted", edit("DELETE FROM org_account WHERE id <> '" + firstAccount + "'")},
		{"the vaults are called deleted", edit("INSERT INTO retired_repository SELECT repository, account, region, name, key_arn, '', 1 FROM vault", "DELETE FROM vault", "DELETE FROM recovery_point")},
		{"the vaults are called deleted and are there as well", edit("INSERT INTO retired_repository SELECT repository, account, region, name, key_arn, '', 1 FROM vault")},
	}
}

// serve is what a node does with a catalog that nobody has looked at: compare it, expire, delete, retire, prune.
func (e *estate) serve(t *testing.T) (opened bool) {
	t.Helper()
	ctx := t.Context()
	s, err := Open(ctx, e.config())
	if err != nil {
		return false
	}
	defer s.Close()
	s.compare(ctx)
	s.runner.Expire(ctx)
	for range 10_000 {
		l, ok, err := s.queue.Claim(ctx, backup.DeleteKind)
		if err != nil || !ok {
			break
		}
		s.runner.Handlers(1)[backup.DeleteKind].Run(ctx, l)
	}
	s.runner.Retire(ctx)
	s.runner.Prune(ctx)
	return true
}

// proved counts what is as it should be, and complains of the rest.
func (e *estate) proved(t *testing.T) (points int) {
	t.Helper()
	ctx := t.Context()
	s, err := Open(ctx, e.config())
	check(t, err)
	defer s.Close()
	stored := map[string]repo.Commit{}
	vaults, err := s.backup.EveryVault(ctx)
	check(t, err)
	for _, v := range vaults {
		r, err := s.runner.Vaults.Maintain(ctx, v.Region, v.ID)
		if err != nil {
			t.Errorf("vault %s: %v", v.ARN, err)
			continue
		}
		if r == nil {
			continue
		}
		commits, err := r.List(ctx)
		check(t, err)
		for _, c := range commits {
			stored[v.ARN+" "+c.ID] = c
		}
		check(t, r.Close())
	}
	wrong := 0
	for arn, k := range e.points {
		account, region, name, _ := backup.ParseVaultARN(k.vault)
		p, err := s.backup.RecoveryPoint(ctx, account, region, name, arn)
		if err != nil {
			t.Errorf("%s: %v", arn, err)
			continue
		}
		c, ok := stored[k.vault+" "+k.id]
		bad := ""
		switch {
		case !ok:
			bad = "its bytes are gone"
		case p.ID != k.id || p.ResourceARN != k.resource || !p.Created.Equal(k.created):
			bad = fmt.Sprintf("it became %s of %s at %v", p.ID, p.ResourceARN, p.Created)
		case !p.Usable() && p.Status != backup.PointExpired:
			bad = fmt.Sprintf("it is %s: %s", p.Status, p.StatusMessage)
		case shorter(p.DeleteAt, k.until), shorter(c.RetainUntil, k.until), k.locked && !c.Locked:
			bad = fmt.Sprintf("it ends at %v and %v (locked %t), not at %v", p.DeleteAt, c.RetainUntil, c.Locked, k.until)
		}
		if bad != "" {
			if wrong++; wrong < 3 {
				t.Errorf("%s: %s", arn, bad)
			}
			continue
		}
		points++
	}
	locked, ok, err := s.backup.VaultOf(ctx, repositoryOf(t, s, "222222222222", "copies"))
	if err != nil || !ok || !locked.Lock.Immutable(time.Now()) {
		t.Errorf("the locked vault is not: %+v, %v", locked.Lock, err)
	}
	return points
}

func shorter(a, than time.Time) bool {
	return !a.IsZero() && (than.IsZero() || a.Before(than))
}

func repositoryOf(t *testing.T, s *Server, account, name string) string {
	t.Helper()
	v, err := s.backup.Vault(t.Context(), account, "us-east-1", name)
	check(t, err)
	return v.Repository
}

// B10: whatever becomes of the catalog, every recovery point is there again and none ends earlier.
func TestB10CatalogIsMadeAgainFromStorage(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("STRONGROOM_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		check(t, err)
		seed = n
	}
	t.Logf("STRONGROOM_SEED=%d", seed)
	pristine := newEstate(t, bar.Size(6, 60))
	all := harms()
	if len(all) < 40 {
		t.Fatalf("only %d variants", len(all))
	}
	if !bar.Full() { // some of them every day
		rnd := rand.New(rand.NewPCG(seed, 0))
		rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		all = all[:6]
	}
	rebuilt, anew := 0, 0
	for i, h := range all {
		t.Run(h.name, func(t *testing.T) {
			e := *pristine
			e.dir = filepath.Join(t.TempDir(), "node")
			check(t, os.CopyFS(e.dir, os.DirFS(pristine.dir)))
			if _, err := os.Stat(filepath.Join(e.dir, "keys", "seal.key")); err == nil {
				check(t, os.Chmod(filepath.Join(e.dir, "keys", "seal.key"), 0o600))
			}
			h.do(t, &e, rand.New(rand.NewPCG(seed, uint64(i))))
			e.serve(t)
			report, err := RebuildCatalog(t.Context(), e.config(), RebuildOptions{Secret: e.secret(t)})
			if err != nil {
				t.Logf("as it is: %v", err)
				report, err = RebuildCatalog(t.Context(), e.config(), RebuildOptions{Secret: e.secret(t), NewCatalog: true})
				check(t, err)
			}
			for _, v := range report.Vaults {
				if len(v.Problems) > 0 {
					t.Errorf("%s: %q", v.ARN, v.Problems)
				}
			}
			if report.NewCatalog {
				anew++
			}
			n := e.proved(t)
			if n != len(e.points) {
				t.Errorf("%d of %d recovery points", n, len(e.points))
			}
			rebuilt += n
			// Doing it again finds nothing to do.
			again, err := RebuildCatalog(t.Context(), e.config(), RebuildOptions{Secret: e.secret(t)})
			check(t, err)
			if _, added, extended, _, repaired := again.Sum(); added+extended+repaired > 0 {
				t.Errorf("again: %d added, %d extended, %d repaired", added, extended, repaired)
			}
		})
	}
	bar.Report(t, "B10", "%d catalogs lost, rolled back or edited, %d of them made anew: %d of %d recovery points there again, 0 retentions shortened, seed %d",
		len(all), anew, rebuilt, len(all)*len(pristine.points), seed)
}

// hasty is a directory of objects that nothing makes durable: the disk store's syncs would take longer than the test.
type hasty struct {
	*disk.Reader
	dir string
}

func (h *hasty) Put(_ context.Context, name string, data []byte) error {
	path := filepath.Join(h.dir, name)
	err := os.WriteFile(path, data, 0o600)
	if os.IsNotExist(err) {
		if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
			err = os.WriteFile(path, data, 0o600)
		}
	}
	return err
}

func (h *hasty) Delete(_ context.Context, name string) error {
	return os.Remove(filepath.Join(h.dir, name))
}

func (h *hasty) Acquire(context.Context) (func(), error) { return func() {}, nil }

func (h *hasty) Create(_ context.Context, name string) (blob.Writer, error) {
	return &hastyWriter{h: h, name: name}, nil
}

type hastyWriter struct {
	bytes.Buffer
	h    *hasty
	name string
}

func (w *hastyWriter) Commit(ctx context.Context) error { return w.h.Put(ctx, w.name, w.Bytes()) }
func (w *hastyWriter) Abort()                           {}

// B10, the size: a vault of 10^5 recovery points, with the catalog gone.
func TestB10LargeVaultIsRebuiltInTime(t *testing.T) {
	n := bar.Size(200, 100_000)
	id, err := age.GenerateX25519Identity()
	check(t, err)
	e := &estate{dir: filepath.Join(t.TempDir(), "node"), id: id, points: map[string]known{}}
	s, err := Open(t.Context(), e.config())
	check(t, err)
	dir := filepath.Join(t.TempDir(), "vault")
	check(t, os.Mkdir(dir, 0o700))
	below, err := disk.OpenReader(dir)
	check(t, err)
	e.vault(t, s, "111111111111", "large", n, false, &hasty{below, dir})
	repository := repositoryOf(t, s, "111111111111", "large")
	check(t, s.Close())
	check(t, os.MkdirAll(filepath.Join(e.dir, "regions", "us-east-1", "vaults"), 0o700))
	check(t, os.Rename(dir, filepath.Join(e.dir, "regions", "us-east-1", "vaults", repository)))
	check(t, os.Remove(filepath.Join(e.dir, catalogFile)))
	begun := time.Now()
	report, err := RebuildCatalog(t.Context(), e.config(), RebuildOptions{Secret: e.secret(t)})
	check(t, err)
	took := time.Since(begun)
	points, added, _, missing, _ := report.Sum()
	if points != n || added != n || missing != 0 || !report.Whole() {
		t.Errorf("%d recovery points, %d entered, %d missing: %+v", points, added, missing, report.Vaults)
	}
	if took > 2*time.Minute {
		t.Errorf("it took %v, more than 2 minutes", took)
	}
	bar.Report(t, "B10", "%d recovery points of a vault entered into a new catalog in %.1f s (limit 120 s)", n, took.Seconds())
}
