package tree

import (
	"errors"
	"fmt"
	"testing"
)

func TestRefusalsAreToldFromFailures(t *testing.T) {
	t.Parallel()
	a, b, broken := &Refused{"a", "no"}, &Refused{"b", "no"}, errors.New("disk full")
	for name, c := range map[string]struct {
		err     error
		refused int
		rest    error
	}{
		"nothing":              {nil, 0, nil},
		"one":                  {a, 1, nil},
		"wrapped":              {fmt.Errorf("create: %w", a), 1, nil},
		"several":              {errors.Join(a, b), 2, nil},
		"nested":               {errors.Join(errors.Join(a, b), a), 3, nil},
		"a failure":            {broken, 0, broken},
		"several, one failure": {errors.Join(a, broken, b), 2, broken},
	} {
		refused, rest := Refusals(c.err)
		if len(refused) != c.refused || (rest == nil) != (c.rest == nil) || c.rest != nil && !errors.Is(rest, c.rest) {
			t.Errorf("%s: got %d refusals and %v", name, len(refused), rest)
		}
	}
}
