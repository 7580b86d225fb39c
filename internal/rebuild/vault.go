package rebuild

import (
	"context"
	"fmt"
	"slices"
	"time"

	"strongroom/internal/backup"
	"strongroom/internal/fault"
	"strongroom/internal/repo"
)

// batch is how many recovery points go into one transaction.
const batch = 500

// vault is one repository being compared.
type vault struct {
	run       *run
	place     Place
	desc      repo.Descriptor
	envelopes []repo.Envelope
	maint     []byte
	root      []byte // nil: not known
	foreign   bool   // only a recovery key opens it
	adopt     bool   // its maintenance key is not yet the node's
	repo      *repo.Repository
	out       *Vault
}

// open opens the repository, with the root key if it is given.
func (v *vault) open(ctx context.Context, root []byte) error {
	r, err := repo.Open(ctx, repo.Config{
		Store: v.place.Store, Vault: v.place.Vault, Root: root, Maint: v.maint, Clock: v.run.Clock, Registry: v.run.Registry, Log: v.run.Log,
	})
	if err != nil {
		return err
	}
	v.close()
	v.repo, v.root = r, root
	return nil
}

func (v *vault) close() {
	if v.repo != nil {
		v.repo.Close()
		v.repo = nil
	}
}

// unlock opens the repository by the recovery key alone: another catalog made it.
func (v *vault) unlock(ctx context.Context) error {
	const next = "the node's maintenance key is not this vault's, because another catalog made it or its descriptor was changed"
	if v.run.Secret == nil {
		return fault.New(fault.Denied, "%s: give a recovery key that opens it (strongroom vault rebuild --recovery-key)", next)
	}
	k, err := v.run.Secret.Open(v.place.Vault, v.envelopes)
	if err != nil {
		return fault.New(fault.Denied, "%s, and the recovery key given does not help: %v", next, err)
	}
	v.maint, v.foreign, v.adopt = k.Maint, true, true
	return v.open(ctx, k.Root)
}

// needRoot opens the repository with its root key, from KMS or the recovery key.
func (v *vault) needRoot(ctx context.Context) error {
	if v.root != nil {
		return nil
	}
	var last error
	for _, e := range slices.Backward(v.envelopes) {
		if e.Kind != "kms" {
			continue
		}
		root, err := v.run.Keys.Unwrap(ctx, e, v.desc.VaultARN)
		if err == nil {
			if err = v.open(ctx, root); err == nil {
				return nil
			}
		}
		last = err
	}
	if v.run.Secret != nil {
		k, err := v.run.Secret.Open(v.place.Vault, v.envelopes)
		if err == nil {
			err = v.open(ctx, k.Root)
		}
		if err == nil {
			return nil
		}
		last = err
	}
	return fault.New(fault.Denied, "its recovery points cannot be read without its root key, which neither the node's KMS nor a recovery key opens (%v): enable the vault's KMS key, or give the recovery key (strongroom vault rebuild --recovery-key)", last)
}

// reconcile compares the repository with the catalog. Errors of the vault are faults; others are the catalog's.
func (v *vault) reconcile(ctx context.Context) error {
	c := v.run.Config
	commits, damaged, err := v.repo.Survey(ctx)
	if err != nil {
		return asFault(err)
	}
	v.out.Points = len(commits)
	for _, f := range damaged {
		v.out.Problems = append(v.out.Problems, fmt.Sprintf("recovery point %s: %s: %s", f.Point, f.Object, f.Reason))
	}
	row, has, err := c.Backup.VaultOf(ctx, v.place.Vault)
	if err != nil {
		return err
	}
	if !has && len(commits) == 0 {
		// A vault that was deleted, or one that nothing was ever put into: nobody misses anything.
		skip, err := c.Backup.RepositoryRetired(ctx, v.place.Vault)
		if err == nil && !skip {
			skip, err = c.Backup.NameTaken(ctx, v.desc.Owner, v.desc.Region, v.desc.Name)
		}
		if err != nil || skip {
			return err
		}
	}
	if err := v.enter(ctx, row, has, commits); err != nil {
		return err
	}
	known, err := c.Backup.KnownPoints(ctx, v.place.Vault)
	if err != nil {
		return err
	}
	if err := v.points(ctx, commits, known); err != nil {
		return err
	}
	return v.claims(ctx, commits, damaged, known)
}

// enter makes sure that the catalog has the vault, under its account and name and with a key that opens it.
func (v *vault) enter(ctx context.Context, row backup.Vault, has bool, commits []repo.Commit) error {
	c := v.run.Config
	s := backup.StoredVault{Repository: v.place.Vault, Account: v.desc.Owner, Region: v.desc.Region, Name: v.desc.Name, Created: v.desc.Created}
	if s.ARN() != v.desc.VaultARN {
		return fault.New(fault.Corrupt, "its descriptor contradicts itself: %s is not %s", v.desc.VaultARN, s.ARN())
	}
	s.Locked = slices.ContainsFunc(commits, func(p repo.Commit) bool { return p.Locked })
	made, err := c.Keys.Account(ctx, s.Account)
	if err != nil {
		return err
	}
	if made {
		v.run.report.Accounts = append(v.run.report.Accounts, s.Account)
	}
	rewrap := false
	if !has || v.foreign || c.Deep {
		if err := v.needRoot(ctx); err != nil {
			return err
		}
	}
	if v.root != nil && !(has && v.wrapped(ctx, row.KeyARN)) {
		was := "" // what the catalog says of the key has not helped
		for _, e := range slices.Backward(v.envelopes) {
			if e.Kind == "kms" && v.wrapped(ctx, e.KeyID) {
				was = e.KeyID
				break
			}
		}
		if s.KeyARN, s.KeyGrant, s.ServiceKey, err = c.Keys.Bind(ctx, s.Account, s.Region, v.desc.VaultARN, was); err != nil {
			return asFault(err)
		}
		rewrap = !v.wrapped(ctx, s.KeyARN)
	}
	if v.adopt {
		if err := c.Keys.Adopt(ctx, v.place.Vault, v.maint); err != nil {
			return err
		}
	}
	if rewrap {
		e, err := c.Keys.Wrap(ctx, s.KeyARN, v.desc.VaultARN, v.root)
		if err == nil {
			err = repo.AddEnvelope(ctx, v.place.Store, e)
		}
		if err != nil {
			return asFault(err)
		}
	}
	if v.out.Changed, err = c.Backup.AdoptVault(ctx, s, func(other string) bool { return v.run.claims[other] == s.ARN() }); err != nil {
		return err
	}
	if has && s.KeyARN != "" && s.KeyARN != row.KeyARN {
		v.out.Changed = join(v.out.Changed, "given the KMS key "+s.KeyARN)
		return c.Backup.GiveKey(ctx, v.place.Vault, s.KeyARN, s.KeyGrant, s.ServiceKey)
	}
	return nil
}

// wrapped reports whether a KMS key of this node opens the vault.
func (v *vault) wrapped(ctx context.Context, keyARN string) bool {
	for _, e := range v.envelopes {
		if e.Kind == "kms" && e.KeyID == keyARN {
			if root, err := v.run.Keys.Unwrap(ctx, e, v.desc.VaultARN); err == nil && slices.Equal(root, v.root) {
				return true
			}
		}
	}
	return false
}

// points enters what the catalog lacks and puts right what it has wrong.
func (v *vault) points(ctx context.Context, commits []repo.Commit, known map[string]backup.KnownPoint) error {
	c := v.run.Config
	extend := map[string]time.Time{}
	var wanted []string
	for _, p := range commits {
		k, ok := known[p.ID]
		switch {
		case !ok && v.run.busy[p.ID]:
			// Its job enters it.
		case ok && k.Busy:
		case !ok || k.Missing() || c.Deep:
			wanted = append(wanted, p.ID)
		case !later(p.RetainUntil, k.DeleteAt).Equal(k.DeleteAt):
			extend[k.ARN] = p.RetainUntil
		}
	}
	v.out.Extended += len(extend)
	if len(extend) > 0 {
		if err := c.Backup.KeepUntil(ctx, extend); err != nil {
			return err
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	if err := v.needRoot(ctx); err != nil {
		return err
	}
	open, _, err := v.repo.Survey(ctx)
	if err != nil {
		return asFault(err)
	}
	slices.Sort(wanted)
	var list []backup.StoredPoint
	flush := func() error {
		done, err := c.Backup.AdoptPoints(ctx, v.place.Vault, list, !v.foreign)
		v.out.Added += done.Added
		for _, arn := range done.Refused {
			v.out.Problems = append(v.out.Problems, fmt.Sprintf("recovery point %s is another vault's in the catalog: it is not entered, as only the recovery key vouches for this vault", arn))
		}
		v.out.Repaired = append(v.out.Repaired, done.Repaired...)
		list = list[:0]
		return err
	}
	for _, p := range open {
		if _, ok := slices.BinarySearch(wanted, p.ID); !ok {
			continue
		}
		s, err := v.stored(ctx, p)
		if err != nil {
			v.out.Problems = append(v.out.Problems, err.Error())
			continue
		}
		if list = append(list, s); len(list) == batch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// stored is a recovery point in the catalog's words. fault.Conflict when another repository holds one with its ARN.
func (v *vault) stored(ctx context.Context, p repo.Commit) (backup.StoredPoint, error) {
	s := backup.StoredPoint{
		ID: p.ID, ARN: p.Meta.RecoveryPointARN, ResourceARN: p.Meta.ResourceARN, ResourceType: p.Meta.ResourceType, Created: p.Meta.Created, Committed: p.Committed,
		RetainUntil: p.RetainUntil, SizeBytes: p.Stats.LogicalBytes, Problems: p.ProblemCount, Labels: p.Meta.Labels, Receipt: v.run.Receipt(p),
	}
	if s.ARN == "" {
		s.ARN = backup.PointARN(v.desc.Owner, v.desc.Region, p.ID)
	}
	for i, x := range p.Problems {
		if i == 5 {
			break
		}
		s.FirstProblems = append(s.FirstProblems, x.Path+": "+x.Reason)
	}
	if p.Meta.Owner != "" && p.Meta.Owner != v.desc.Owner {
		return s, fault.New(fault.Corrupt, "recovery point %s says that it belongs to account %s, and its vault to %s: it is not entered", s.ARN, p.Meta.Owner, v.desc.Owner)
	}
	if other, ok := v.run.holders[s.ARN]; ok && other != v.place.Vault {
		return s, fault.New(fault.Conflict, "recovery point %s is in repository %s as well: it is not entered", s.ARN, other)
	}
	v.run.holders[s.ARN] = v.place.Vault
	return s, nil
}

// claims marks what the catalog has and the repository does not.
func (v *vault) claims(ctx context.Context, commits []repo.Commit, damaged []repo.Finding, known map[string]backup.KnownPoint) error {
	there := map[string]bool{}
	for _, p := range commits {
		there[p.ID] = true
	}
	broken := map[string]string{}
	for _, f := range damaged {
		broken[f.Point] = f.Reason
	}
	why := map[string]string{}
	for id, k := range known {
		if there[id] || k.Busy {
			continue
		}
		v.out.Missing++
		reason, ok := broken[id]
		switch {
		case ok:
			reason = "its commit record is damaged or lost (" + reason + ")"
		default:
			reason = "it was deleted from there, or never was in it"
		}
		if !k.Missing() {
			why[k.ARN] = reason
		}
	}
	if len(why) == 0 {
		return nil
	}
	return v.run.Backup.MarkMissing(ctx, why)
}

// asFault keeps errors of one vault apart from those of the catalog.
func asFault(err error) error {
	if err == nil || fault.As(err) != nil {
		return err
	}
	return fault.New(fault.Unavailable, "%v", err).WithCause(err)
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + ", " + b
}
