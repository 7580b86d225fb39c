package backup

import (
	"encoding/json"
	"maps"
	"strings"
	"time"

	"strongroom/internal/schedule"
)

// DetailLabel is the label of a commit record that holds what the catalog knows of a recovery point beyond the engine's own
// fields, so that the catalog can be made again from storage. Users' tags cannot begin with "aws:". Part of the format.
const DetailLabel = "aws:strongroom:recovery-point"

// PointDetail is that label's content, as JSON.
type PointDetail struct {
	ResourceName    string             `json:",omitempty"`
	RoleARN         string             `json:",omitempty"`
	JobID           string             `json:",omitempty"`
	CreatedBy       Creator            `json:",omitzero"`
	Lifecycle       schedule.Lifecycle `json:",omitzero"`
	Initiated       time.Time          `json:",omitzero"`
	RestoreMetadata map[string]string  `json:",omitempty"`
	// Copies only.
	SourceVaultARN string `json:",omitempty"`
	SourceARN      string `json:",omitempty"`
	SourceAccount  string `json:",omitempty"`
	// Partial and StatusMessage are those of the source, where a copy takes them over.
	Partial       bool   `json:",omitempty"`
	StatusMessage string `json:",omitempty"`
}

// Labels is what a commit record carries: the tags, and the detail.
func (d PointDetail) Labels(tags map[string]string) map[string]string {
	out := maps.Clone(tags)
	if out == nil {
		out = map[string]string{}
	}
	raw, err := json.Marshal(d)
	if err == nil { // strings, numbers and a time: it always is
		out[DetailLabel] = string(raw)
	}
	return out
}

// splitLabels is the inverse of Labels. Recovery points of before this label have none, and then there are the tags alone.
func splitLabels(labels map[string]string) (d PointDetail, tags map[string]string) {
	json.Unmarshal([]byte(labels[DetailLabel]), &d)
	tags = map[string]string{}
	for k, v := range labels {
		if !strings.HasPrefix(strings.ToLower(k), "aws:") {
			tags[k] = v
		}
	}
	return d, tags
}
