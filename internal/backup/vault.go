package backup

import (
	"context"
	"regexp"
	"strings"
	"time"

	"strongroom/internal/access"
	"strongroom/internal/arn"
	"strongroom/internal/db"
	"strongroom/internal/fault"
	"strongroom/internal/ident"
)

// DefaultVault is the name of the vault that comes into being when something first names it.
const DefaultVault = "Default"

const (
	maxVaults = 300       // per account and region
	maxPoints = 1_000_000 // per vault
)

// Vault is a named, access-controlled, lockable container of recovery points.
type Vault struct {
	Account, Region, Name string
	Repository            string // id of the repository that holds the vault's bytes
	KeyARN                string // encrypts the vault's recovery points; never changes
	KeyGrant              string // the backup service's grant on that key
	ServiceKey            bool   // KeyARN is the account's service-managed key
	CreatorRequestID      string
	Created               time.Time
	Points                int64 // recovery points of any status
	Policy                string
	Lock                  Lock
	Notifications         Notifications
}

// ARN is the vault's name in policies and in replies.
func (v Vault) ARN() string { return VaultARN(v.Account, v.Region, v.Name) }

// VaultARN builds arn:aws:backup:<region>:<account>:backup-vault:<name>.
func VaultARN(account, region, name string) string {
	return arn.Make("backup", region, account, "backup-vault:"+name)
}

// ParseVaultARN is the inverse of VaultARN; ok is false when text is not the ARN of a vault. Only the partition aws counts:
// two spellings of one vault would let a request slip past a policy that names the other.
func ParseVaultARN(text string) (account, region, name string, ok bool) {
	a, err := arn.Parse(text)
	if err != nil || a.Partition != "aws" || a.Service != "backup" || !arn.ValidAccount(a.Account) || a.Region == "" {
		return "", "", "", false
	}
	name, ok = strings.CutPrefix(a.Resource, "backup-vault:")
	return a.Account, a.Region, name, ok && name != ""
}

// VaultSpec is what CreateVault makes.
type VaultSpec struct {
	Name             string
	KeyARN           string // "": the account's service-managed key
	CreatorRequestID string
	Tags             map[string]string
}

// errNoVault is AWS's answer where the caller reads a vault that does not exist or is not theirs: both look the same.
func errNoVault(account, region, name string) error {
	return fault.New(fault.Denied, "Insufficient privileges to perform this action.").WithCode("Vault").WithResource(VaultARN(account, region, name))
}

// errVaultMissing is the answer to calls that change a vault or target it.
func errVaultMissing(account, region, name string) error {
	return fault.New(fault.NotFound, "Backup vault %s does not exist.", VaultARN(account, region, name)).WithResource(name)
}

// CreateVault makes a vault in the caller's account and region. The vault's grant on the key exists before the vault does; a
// crash between the two leaves a grant that the next creation under the same name and key takes over.
// Errors: Exists (with Detail Arn and CreatorRequestId), Invalid, Limit.
func (s *Service) CreateVault(ctx context.Context, by access.Principal, env access.Env, spec VaultSpec) (Vault, error) {
	account, region := by.Account, env.Region
	if !vaultName.MatchString(spec.Name) {
		return Vault{}, fault.New(fault.Invalid, "Invalid backup vault name %q: 2 to 50 letters, digits, hyphens and underscores.", spec.Name)
	}
	if len(spec.CreatorRequestID) > 0 && !requestID.MatchString(spec.CreatorRequestID) {
		return Vault{}, fault.New(fault.Invalid, "Invalid CreatorRequestId: 1 to 50 letters, digits and characters of '-_.'.")
	}
	if err := validTags(spec.Tags); err != nil {
		return Vault{}, err
	}
	// Asked before the key is touched, so that a duplicate does not create grants and gets the better answer.
	if v, err := s.Vault(ctx, account, region, spec.Name); err == nil {
		return s.repeated(v, spec)
	} else if !fault.Is(err, fault.Denied) {
		return Vault{}, err
	}
	return s.createVault(ctx, by, env, account, region, spec)
}

var (
	vaultName = regexp.MustCompile(`^[a-zA-Z0-9\-_]{2,50}$`)
	requestID = regexp.MustCompile(`^[a-zA-Z0-9\-_.]{1,50}$`)
)

// repeated answers a second creation: the same request token with the same content is the first one's success.
func (s *Service) repeated(v Vault, spec VaultSpec) (Vault, error) {
	sameKey := spec.KeyARN == v.KeyARN || spec.KeyARN == "" && v.ServiceKey
	if spec.CreatorRequestID != "" && spec.CreatorRequestID == v.CreatorRequestID && sameKey {
		return v, nil
	}
	return Vault{}, fault.New(fault.Exists, "Backup vault with the same name already exists").WithResource(v.ARN()).
		WithDetail("Arn", v.ARN()).WithDetail("CreatorRequestId", v.CreatorRequestID)
}

func (s *Service) createVault(ctx context.Context, by access.Principal, env access.Env, account, region string, spec VaultSpec) (Vault, error) {
	v := Vault{
		Account: account, Region: region, Name: spec.Name, Repository: ident.UUID(),
		KeyARN: spec.KeyARN, ServiceKey: spec.KeyARN == "", CreatorRequestID: spec.CreatorRequestID,
	}
	var err error
	if v.ServiceKey {
		// The service-managed key is the service's to use: its policy lets everyone in the account use it through the service.
		if v.KeyARN, err = s.Keys.DefaultKey(ctx, account, region); err != nil {
			return Vault{}, err
		}
		by = access.Principal{Kind: access.Service, ARN: servicePrincipal, Name: servicePrincipal}
	} else if a, err := arn.Parse(v.KeyARN); err != nil || a.Service != "kms" || !strings.HasPrefix(a.Resource, "key/") {
		return Vault{}, fault.New(fault.Invalid, "Invalid EncryptionKeyArn %q: it must be the ARN of a KMS key, not an alias.", v.KeyARN)
	}
	if v.KeyGrant, err = s.Keys.BindVault(ctx, by, env, v.KeyARN, v.ARN()); err != nil {
		return Vault{}, errKey(v.KeyARN, err)
	}
	err = s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		v.Created = tx.Now
		var n int64
		if err := tx.QueryRow(ctx, "SELECT count(*) FROM vault WHERE account = ? AND region = ?", account, region).Scan(&n); err != nil {
			return err
		}
		if n >= maxVaults {
			return fault.New(fault.Limit, "The limit of %d backup vaults in account %s and Region %s is reached.", maxVaults, account, region).WithContext("300")
		}
		if err := insertVault(ctx, tx, v); err != nil {
			return err
		}
		return putTags(ctx, tx, v.ARN(), spec.Tags)
	})
	if db.Duplicate(err) { // lost a race; the winner's grant, if it is the same one, must stay
		won, werr := s.Vault(ctx, account, region, spec.Name)
		if werr != nil {
			return Vault{}, werr
		}
		s.releaseUnless(ctx, v, won)
		return s.repeated(won, spec)
	}
	if err != nil {
		if fault.As(err) != nil { // anything else may have been committed all the same
			s.releaseUnless(ctx, v, Vault{})
		}
		return Vault{}, err
	}
	return v, nil
}

// errKey turns the key service's answer into one about the parameter that named the key.
func errKey(key string, err error) error {
	f := fault.As(err)
	if f == nil || f.Kind != fault.NotFound && f.Kind != fault.State {
		return err
	}
	return fault.New(fault.Invalid, "Invalid EncryptionKeyArn %q: %s", key, f.Msg).WithCause(err)
}

// servicePrincipal is what the backup service is called in policies.
const servicePrincipal = "backup.amazonaws.com"

// releaseUnless gives back the grant of a vault that did not come into being, unless the vault that did holds it.
func (s *Service) releaseUnless(ctx context.Context, v, holder Vault) {
	if v.KeyGrant == "" || v.KeyARN == holder.KeyARN && v.KeyGrant == holder.KeyGrant {
		return
	}
	if err := s.Keys.ReleaseVault(ctx, v.KeyARN, v.KeyGrant); err != nil {
		s.Log.WarnContext(ctx, "the grant of a vault that was not created stays on its key", "key", v.KeyARN, "grant", v.KeyGrant, "err", err)
	}
}

// ensureDefaultVault makes the vault Default of an account and region if name is Default and it is not there yet; for any
// other name it does nothing. MUST be called before a transaction begins: it reaches the key service, which uses the same
// database and, on SQLite, the same single writer.
func (s *Service) ensureDefaultVault(ctx context.Context, account, region, name string) error {
	if name != DefaultVault {
		return nil
	}
	found, err := s.vaultExists(ctx, account, region, name)
	if found || err != nil {
		return err
	}
	by := access.Principal{Kind: access.Service, ARN: servicePrincipal, Name: servicePrincipal}
	_, err = s.createVault(ctx, by, access.Env{Region: region, ViaService: servicePrincipal, Now: s.Clock.Now(), Secure: true}, account, region, VaultSpec{Name: DefaultVault})
	if fault.Is(err, fault.Exists) {
		return nil
	}
	return err
}

// Vault returns a vault; the vault Default is made if need be. Errors: Denied when there is none.
func (s *Service) Vault(ctx context.Context, account, region, name string) (v Vault, err error) {
	err = s.readVault(ctx, account, region, name, func(ctx context.Context, tx *db.Tx, found Vault) error {
		v = found
		return nil
	})
	return v, err
}

// readVault runs fn over a vault in a read-only transaction.
func (s *Service) readVault(ctx context.Context, account, region, name string, fn func(context.Context, *db.Tx, Vault) error) error {
	if err := s.ensureDefaultVault(ctx, account, region, name); err != nil {
		return err
	}
	return s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		v, err := vault(ctx, tx, account, region, name)
		if fault.Is(err, fault.NotFound) {
			return errNoVault(account, region, name)
		}
		if err != nil {
			return err
		}
		return fn(ctx, tx, v)
	})
}

// changeVault runs fn over a vault in a read-write transaction. Errors: NotFound.
func (s *Service) changeVault(ctx context.Context, account, region, name string, fn func(context.Context, *db.Tx, Vault) error) error {
	if err := s.ensureDefaultVault(ctx, account, region, name); err != nil {
		return err
	}
	return s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		v, err := vault(ctx, tx, account, region, name)
		if err != nil {
			return err
		}
		return fn(ctx, tx, v)
	})
}

// Vaults lists the vaults of an account and region by name.
func (s *Service) Vaults(ctx context.Context, account, region string, p Page) (list []Vault, next string, err error) {
	at := []string{"vaults", account, region}
	c, started, err := s.start(p, at...)
	if err != nil {
		return nil, "", err
	}
	var w where
	w.add("account = ? AND region = ?", account, region)
	if started {
		w.add("name > ?", c.ID)
	}
	err = s.DB.View(ctx, func(ctx context.Context, tx *db.Tx) error {
		list, err = queryVaults(ctx, tx, w.String()+" ORDER BY name LIMIT ?", append(w.args, p.size()+1)...)
		return err
	})
	if len(list) > p.size() {
		list = list[:p.size()]
		next = s.token(cursor{ID: list[len(list)-1].Name}, at...)
	}
	return list, next, err
}

// DeleteVault removes an empty vault with its policy, lock, notifications and tags, a locked one too. Its repository is
// left to be pruned (RetiredRepositories).
// Errors: Denied when there is none; State with code ERROR_9101 when it is not empty.
func (s *Service) DeleteVault(ctx context.Context, account, region, name string) error {
	var gone Vault
	err := s.DB.Update(ctx, func(ctx context.Context, tx *db.Tx) error {
		v, err := vault(ctx, tx, account, region, name)
		if fault.Is(err, fault.NotFound) {
			return errNoVault(account, region, name)
		}
		if err != nil {
			return err
		}
		var holds bool
		if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM recovery_point WHERE account = ? AND region = ? AND vault = ?)", account, region, name).Scan(&holds); err != nil {
			return err
		}
		if holds {
			return fault.New(fault.State, "Backup vault cannot be deleted because it contains recovery points.").WithCode("ERROR_9101").WithResource(name)
		}
		gone = v
		return removeVault(ctx, tx, v)
	})
	if err != nil {
		return err
	}
	if err := s.Keys.ReleaseVault(ctx, gone.KeyARN, gone.KeyGrant); err != nil {
		s.Log.WarnContext(ctx, "the grant of a deleted vault stays on its key until its repository is gone", "key", gone.KeyARN, "grant", gone.KeyGrant, "err", err)
	}
	return nil
}
