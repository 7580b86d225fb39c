package files

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// names is a directory's sorted list of names, held in two allocations however many there are: a million names of
// twenty bytes take 28 MB.
type names struct {
	text string
	at   []uint64 // offset<<24 | length<<8 | d_type
}

func (n *names) len() int          { return len(n.at) }
func (n *names) name(i int) string { return n.text[n.at[i]>>24:][:n.at[i]>>8&0xffff] }
func (n *names) kind(i int) uint8  { return uint8(n.at[i]) }

// Layout of struct linux_dirent64.
const (
	direntLength = 16
	direntType   = 18
	direntName   = 19
)

// readNames reads the names of the directory fd from its beginning. With once set it gives up (ok false) when they do not fit
// into one buffer, so that reading ahead stays cheap.
func readNames(fd int, buf []byte, once bool) (n names, ok bool, err error) {
	if _, err := unix.Seek(fd, 0, unix.SEEK_SET); err != nil {
		return names{}, false, err
	}
	var text []byte
	for round := 0; ; round++ {
		got, err := unix.Getdents(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return names{}, false, err
		}
		if got == 0 {
			break
		}
		if once && round > 0 {
			return names{}, false, nil
		}
		for b := buf[:got]; len(b) > direntName; {
			size := int(binary.NativeEndian.Uint16(b[direntLength:]))
			name := b[direntName:size]
			if i := bytes.IndexByte(name, 0); i >= 0 {
				name = name[:i]
			}
			if s := string(name); s != "." && s != ".." && s != "" {
				n.at = append(n.at, uint64(len(text))<<24|uint64(len(name))<<8|uint64(b[direntType]))
				text = append(text, name...)
			}
			b = b[size:]
		}
	}
	n.text = unsafe.String(unsafe.SliceData(text), len(text)) // text is not written again
	slices.SortFunc(n.at, func(a, b uint64) int {
		return cmp.Compare(n.text[a>>24:][:a>>8&0xffff], n.text[b>>24:][:b>>8&0xffff])
	})
	// A directory that changes while it is listed can show a name twice.
	n.at = slices.CompactFunc(n.at, func(a, b uint64) bool {
		return n.text[a>>24:][:a>>8&0xffff] == n.text[b>>24:][:b>>8&0xffff]
	})
	return n, true, nil
}
