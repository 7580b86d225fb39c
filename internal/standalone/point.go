package standalone

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"strongroom/internal/fault"
	"strongroom/internal/recovery"
	"strongroom/internal/repo"
)

// Labels of recovery points made here. Part of the format.
const (
	labelHost  = "host"
	labelPaths = "paths" // JSON list
	labelUser  = "user"  // number of the user whose rights it was made with
)

// RecoveryPoint is one recovery point of a listing.
type RecoveryPoint struct {
	ID          string    `json:"id"`
	Created     time.Time `json:"created"`
	Host        string    `json:"host,omitempty"`
	Paths       []string  `json:"paths,omitempty"`
	ResourceARN string    `json:"resource_arn,omitempty"`       // made by a node
	ARN         string    `json:"recovery_point_arn,omitempty"` // made by a node
	Entries     int64     `json:"entries"`
	Files       int64     `json:"files"`
	Bytes       int64     `json:"bytes"`
	RetainUntil time.Time `json:"retain_until,omitzero"`
	Locked      bool      `json:"locked"`
	// ProblemCount is how many objects were not read faithfully when it was made.
	ProblemCount int64 `json:"problem_count"`

	user string
}

func describe(c *repo.Commit) RecoveryPoint {
	p := RecoveryPoint{
		ID: c.ID, Created: c.Meta.Created, Host: c.Meta.Labels[labelHost], ResourceARN: c.Meta.ResourceARN, ARN: c.Meta.RecoveryPointARN,
		Entries: c.Stats.Entries, Files: c.Stats.Files, Bytes: c.Stats.LogicalBytes,
		RetainUntil: c.RetainUntil, Locked: c.Locked, ProblemCount: c.ProblemCount, user: c.Meta.Labels[labelUser],
	}
	if strings.HasPrefix(p.ResourceARN, resourcePrefix) {
		p.ResourceARN = "" // host and paths say it better
	}
	// A label is whatever its maker wrote; one that is no list of ours is not shown.
	json.Unmarshal([]byte(c.Meta.Labels[labelPaths]), &p.Paths)
	return p
}

// Problem is one object of a recovery point that is not a faithful copy, or was not restored as one.
type Problem struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

func problems(in []repo.Problem) []Problem {
	out := make([]Problem, len(in))
	for i, p := range in {
		out[i] = Problem(p)
	}
	return out
}

// Finding is damage: where it lies, or what it spoils. Lost, if not 0, is how many entries of the recovery point are lost
// with a part of its manifest, from Path up to and without Until.
type Finding struct {
	Object string `json:"object"`
	Point  string `json:"recovery_point,omitempty"`
	Path   string `json:"path,omitempty"`
	Lost   int64  `json:"lost_entries,omitempty"`
	Until  string `json:"until,omitempty"`
	Reason string `json:"reason"`
}

// Listing is what a vault holds.
type Listing struct {
	About
	Points  []RecoveryPoint `json:"recovery_points"` // oldest first
	Damaged []Finding       `json:"damaged"`         // recovery points whose record cannot be read
	// Kits says which recovery kits there are and which were tested. Caveats is what could not be checked (Vault.Caveats).
	Kits    []recovery.KitState `json:"recovery_kits"`
	Caveats []string            `json:"caveats,omitempty"`
}

// List lists the recovery points. Damaged ones are named beside the others.
func (v *Vault) List(ctx context.Context) (Listing, error) {
	about, err := Look(ctx, v.dir)
	if err != nil {
		return Listing{}, err
	}
	commits, damaged, err := v.repo.Survey(ctx)
	if err != nil {
		return Listing{}, err
	}
	l := Listing{About: about, Points: []RecoveryPoint{}, Damaged: findings(damaged), Caveats: v.caveats}
	if l.Kits, err = v.Kits(ctx); err != nil {
		return Listing{}, err
	}
	for i := range commits {
		l.Points = append(l.Points, describe(&commits[i]))
	}
	slices.SortStableFunc(l.Points, func(a, b RecoveryPoint) int { return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID)) })
	return l, nil
}

func findings(in []repo.Finding) []Finding {
	out := make([]Finding, len(in))
	for i, f := range in {
		out[i] = Finding(f)
	}
	return out
}

// point finds a recovery point by its id or, where a node made it, its ARN.
func (v *Vault) point(ctx context.Context, id string) (*repo.Point, error) {
	if !strings.HasPrefix(id, "arn:") {
		return v.repo.Point(ctx, id)
	}
	commits, _, err := v.repo.Survey(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range commits {
		if c.Meta.RecoveryPointARN == id {
			return v.repo.Point(ctx, c.ID)
		}
	}
	return nil, fault.New(fault.NotFound, "there is no recovery point %s in this vault", id).WithResource(id)
}
