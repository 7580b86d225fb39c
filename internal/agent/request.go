package agent

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"strongroom/internal/fault"
	"strongroom/internal/tree"
)

// RestoreRequest says what to restore and where to.
type RestoreRequest struct {
	// JobID names the restore, so that a further attempt recognises what an interrupted one left. Without it CreationToken
	// and CreatedAt stand in.
	JobID string
	// NewFileSystem makes a file system for the restore; FileSystemID is ignored then. Otherwise the restore goes into the
	// file system FileSystemID, an id or an ARN of the account.
	NewFileSystem bool
	FileSystemID  string
	// Items are the paths of the tree to restore with what is below them, in tree order. Empty: everything.
	Items     []string
	CreatedAt time.Time
	// CreationToken decides the id of a new file system: the same token of one account and region always gives the same
	// file system, so a repeated request does not make a second one.
	CreationToken string
}

// ParseRestore reads the metadata of a restore job for a file system, as AWS Backup has it: file-system-id, newFileSystem,
// CreationToken, ItemsToRestore (JSON text). What concerns AWS's own storage (Encrypted, KmsKeyId, PerformanceMode,
// singleAzFilesystem, availabilityZoneName) is checked and has no effect: the host's disk decides. Keys are compared
// without case; unknown ones are refused, because a misspelt key would send the restore somewhere else.
func ParseRestore(metadata map[string]string) (RestoreRequest, error) {
	var q RestoreRequest
	var encrypted, keyed bool
	for key, value := range metadata {
		var err error
		switch strings.ToLower(key) {
		case "file-system-id":
			q.FileSystemID = value
		case "newfilesystem":
			q.NewFileSystem, err = flag(key, value)
		case "creationtoken":
			if q.CreationToken = value; len(value) > 64 {
				err = invalid("%s has more than 64 characters", key)
			}
		case "itemstorestore":
			q.Items, err = parseItems(value)
		case "encrypted":
			encrypted, err = flag(key, value)
		case "kmskeyid":
			keyed = value != ""
		case "performancemode":
			if value != "" && value != "generalPurpose" && value != "maxIO" {
				err = invalid("%s: want generalPurpose or maxIO, not %q", key, value)
			}
		case "singleazfilesystem":
			_, err = flag(key, value)
		case "availabilityzonename", "aws:backup:request-id":
		default:
			err = invalid("%q is not restore metadata of a file system", key)
		}
		if err != nil {
			return RestoreRequest{}, err
		}
	}
	switch {
	case keyed && !encrypted:
		return RestoreRequest{}, invalid("KmsKeyId needs Encrypted to be true")
	case q.NewFileSystem:
		q.FileSystemID = ""
	case q.FileSystemID == "":
		return RestoreRequest{}, invalid("either newFileSystem must be true or file-system-id given")
	}
	return q, nil
}

func invalid(format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, "Restore metadata: "+format, args...)
}

func flag(key, value string) (bool, error) {
	switch strings.ToLower(value) {
	case "true":
		return true, nil
	case "false", "":
		return false, nil
	}
	return false, invalid("%s: want true or false, not %s", key, strconv.Quote(value))
}

// maxItems bounds a request; the metadata of a restore job is limited to 200 KB as a whole.
const maxItems = 10000

// parseItems reads ItemsToRestore: a JSON list of absolute paths, or one path as a JSON string.
func parseItems(text string) ([]string, error) {
	var paths []string
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(text), &paths); err != nil {
		var one string
		if json.Unmarshal([]byte(text), &one) != nil {
			return nil, invalid("ItemsToRestore: want a JSON list of paths")
		}
		paths = []string{one}
	}
	return items(paths)
}

// items turns the absolute paths of ItemsToRestore into paths of the tree, sorted, without those that lie in another one.
// Names are compared byte for byte; * and ? are ordinary characters of names. nil means everything.
func items(paths []string) ([]string, error) {
	if len(paths) > maxItems {
		return nil, invalid("ItemsToRestore: at most %d paths", maxItems)
	}
	out := make([]string, 0, len(paths))
	for _, p := range paths {
		rel, ok := strings.CutPrefix(p, "/")
		if !ok {
			return nil, invalid("ItemsToRestore: %q is not an absolute path", p)
		}
		if rel == "" {
			return nil, nil
		}
		rel = strings.TrimSuffix(rel, "/")
		if rel == "" || !tree.ValidPath(rel) {
			return nil, invalid("ItemsToRestore: %q has an empty, . or .. element", p)
		}
		out = append(out, rel)
	}
	slices.SortFunc(out, tree.Compare)
	kept := out[:0]
	for _, p := range out {
		if n := len(kept); n > 0 && (p == kept[n-1] || strings.HasPrefix(p, kept[n-1]+"/")) {
			continue
		}
		kept = append(kept, p)
	}
	if len(kept) == 0 {
		return nil, nil
	}
	return kept, nil
}
