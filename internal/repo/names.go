package repo

import (
	"encoding/hex"
	"fmt"

	"strongroom/internal/fault"
)

// Names of objects. docs/FORMAT.md lists them.
const (
	vaultName     = "vault"
	keysPrefix    = "keys/"
	pointsPrefix  = "rps/"
	refsPrefix    = "refs/"
	journalPrefix = "journal/"
)

// maxSmall bounds the size of every object that is read whole.
const maxSmall = 1 << 28

// attempt tells apart what several tries to write one recovery point leave behind.
type attempt [16]byte

func pointName(id string) string { return pointsPrefix + id }

func refsName(id string, a attempt, generation uint64) string {
	return fmt.Sprintf("%s%s/%s-%08x", refsPrefix, id, hex.EncodeToString(a[:]), generation)
}

// checkID refuses ids of recovery points that cannot be part of an object's name.
func checkID(id string) error {
	ok := id != "" && len(id) <= 128 && id[0] != '.'
	for i := range len(id) {
		switch c := id[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
		default:
			ok = false
		}
	}
	if !ok {
		return fault.New(fault.Invalid, "%.140q is no recovery point id", id)
	}
	return nil
}

func noPoint(id string) error {
	return fault.New(fault.NotFound, "there is no recovery point %s in this repository", id).WithResource(id)
}

func corrupt(name, format string, args ...any) error {
	return fault.New(fault.Corrupt, "%s: %s", name, fmt.Sprintf(format, args...)).WithResource(name)
}
