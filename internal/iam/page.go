package iam

import (
	"encoding/base64"
	"sort"

	"strongroom/internal/fault"
)

// Page asks for one page of a list. The zero value is the first page at the default size.
type Page struct {
	Marker   string // from the previous page
	MaxItems int    // 1..1000; 0 means 100
}

const defaultPage, longestPage = 100, 1000

func (p Page) size() int {
	if p.MaxItems <= 0 {
		return defaultPage
	}
	return min(p.MaxItems, longestPage)
}

// A marker is the sort key of the last item that was returned, sealed together with the list it belongs to: it stays valid
// while items come and go, it cannot be made up, and it does not work for another account or filter.

func (s *Service) marker(list, last string) (string, error) {
	b, err := s.secrets.Seal(purposeMarker, []byte(last), list)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// after returns the sort key that the page begins behind, "" for the first page.
func (s *Service) after(list string, p Page) (string, error) {
	if p.Marker == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(p.Marker)
	if err == nil {
		b, err = s.secrets.Open(purposeMarker, b, list)
	}
	if err != nil {
		return "", fault.New(fault.Invalid, "Invalid Marker.").WithCause(err)
	}
	return string(b), nil
}

// slice cuts one page out of all items, which it sorts by key. Keys must be unique.
func slice[T any](s *Service, list string, p Page, items []T, key func(T) string) ([]T, string, error) {
	after, err := s.after(list, p)
	if err != nil {
		return nil, "", err
	}
	sort.Slice(items, func(i, j int) bool { return key(items[i]) < key(items[j]) })
	if p.Marker != "" {
		items = items[sort.Search(len(items), func(i int) bool { return key(items[i]) > after }):]
	}
	return cut(s, list, p, items, key)
}

// cut ends a sorted list at the page's size and makes the marker when more follow.
func cut[T any](s *Service, list string, p Page, items []T, key func(T) string) ([]T, string, error) {
	n := p.size()
	if len(items) <= n {
		return items, "", nil
	}
	next, err := s.marker(list, key(items[n-1]))
	return items[:n:n], next, err
}
