package iam

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"crypto/sha256"
	"encoding/base32"

	"strongroom/internal/policy"
)

// The policies that AWS manages and that backup users attach, as AWS publishes them, plus our own, whose names begin with
// Strongroom. Each file holds the default version only: older ones cannot be attached anyway.
//
//go:embed managed/*.json
var managedFiles embed.FS

// awsAccount is the account part of the ARNs of AWS-managed policies.
const awsAccount = "aws"

// managedPolicy is one entry of the catalog.
type managedPolicy struct {
	Policy
	document string
	parse    func() (*policy.Document, error) // once
}

// catalog holds the AWS-managed policies. It does not change.
type catalog struct {
	byARN  map[string]*managedPolicy
	sorted []*managedPolicy
}

func loadCatalog() (*catalog, error) {
	c := &catalog{byARN: map[string]*managedPolicy{}}
	files, err := fs.Glob(managedFiles, "managed/*.json")
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		p, err := loadManaged(name)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		c.byARN[p.ARN] = p
		c.sorted = append(c.sorted, p)
	}
	sort.Slice(c.sorted, func(i, j int) bool { return c.sorted[i].Name < c.sorted[j].Name })
	return c, nil
}

func loadManaged(file string) (*managedPolicy, error) {
	data, err := managedFiles.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var f struct {
		Name, Path, DefaultVersionId, Description string
		CreateDate, UpdateDate                    time.Time
		Document                                  json.RawMessage
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, err
	}
	version, err := strconv.Atoi(strings.TrimPrefix(f.DefaultVersionId, "v"))
	if err != nil {
		return nil, err
	}
	p := &managedPolicy{document: string(f.Document)}
	p.Policy = Policy{
		// AWS's own ids are not published; ours are the same on every node.
		ID:   managedID(f.Name),
		Name: f.Name, Path: f.Path, ARN: entityARN(awsAccount, "policy", f.Path, f.Name), Description: f.Description,
		Created: f.CreateDate.UTC(), Updated: f.UpdateDate.UTC(), DefaultVersion: version,
		Attachable: !strings.HasPrefix(f.Path, serviceLinkedPath),
	}
	p.parse = sync.OnceValues(func() (*policy.Document, error) { return policy.Parse(policy.Identity, p.document) })
	return p, nil
}

func managedID(name string) string {
	sum := sha256.Sum256([]byte("aws managed policy " + name))
	return prefixPolicy + base32.StdEncoding.EncodeToString(sum[:])[:17]
}
