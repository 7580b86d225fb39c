package main

import (
	"fmt"
	"os"
	"slices"
)

// results holds the measurements in the order in which they came.
type results struct {
	quiet bool // measurements go to standard error as they come
	keys  []key
	all   map[key]map[string][]usage
}

type key struct{ tree, work string }

func (r *results) say(format string, args ...any) {
	out := os.Stdout
	if r.quiet {
		out = os.Stderr
	}
	fmt.Fprintf(out, format+"\n", args...)
}

func (r *results) add(tree, work, tool string, u usage) {
	k := key{tree, work}
	if r.all == nil {
		r.all = map[key]map[string][]usage{}
	}
	if r.all[k] == nil {
		r.all[k] = map[string][]usage{}
		r.keys = append(r.keys, k)
	}
	r.all[k][tool] = append(r.all[k][tool], u)
	if u.Wall == 0 {
		r.say("  %-26s %-11s %9.1f MB", work, tool, u.Stored)
	} else {
		r.say("  %-26s %-11s %8.2f s wall %8.2f s cpu %6.0f MB", work, tool, u.Wall, u.CPU, u.RSS)
	}
}

func median(of []usage, pick func(usage) float64) float64 {
	v := make([]float64, len(of))
	for i, u := range of {
		v[i] = pick(u)
	}
	slices.Sort(v)
	if len(v) == 0 {
		return 0
	}
	return v[len(v)/2]
}

func medians(of []usage) usage {
	return usage{
		Wall: median(of, func(u usage) float64 { return u.Wall }), CPU: median(of, func(u usage) float64 { return u.CPU }),
		RSS: median(of, func(u usage) float64 { return u.RSS }), Stored: median(of, func(u usage) float64 { return u.Stored }),
	}
}

// goal is what a work must reach: at most a part of a peer's, as issue and docs/decisions/0002-engine-speed.md say it.
type goal struct {
	ratio   float64
	fastest bool    // of restic and borg; else of restic alone
	bare    float64 // at most this multiple of the bare pipeline; 0: no such goal
	seconds float64 // or at most so long; 0: no such goal
}

var goals = map[key]goal{
	{"small files", "initial backup"}:              {ratio: 0.40, bare: 1.25},
	{"small files", "stored"}:                      {ratio: 1.02},
	{"small files", "nothing changed"}:             {ratio: 0.20},
	{"small files", "1 % changed"}:                 {ratio: 0.30},
	{"small files", "restore"}:                     {ratio: 0.55, fastest: true},
	{"small files", "copy, other key"}:             {ratio: 0.12},
	{"small files", "verify all data"}:             {ratio: 0.40},
	{"mixed large files", "initial backup"}:        {ratio: 0.40, bare: 1.25},
	{"mixed large files", "stored"}:                {ratio: 1.02},
	{"mixed large files", "restore"}:               {ratio: 0.45, fastest: true},
	{"mixed large files", "copy, other key"}:       {ratio: 0.12},
	{"mixed large files", "verify all data"}:       {ratio: 0.40},
	{"mixed large files", "stored for the change"}: {ratio: 0.25},
	{"many files", "nothing changed"}:              {seconds: 10},
}

// row is one work with its medians by tool.
type row struct {
	Tree  string           `json:"tree"`
	Work  string           `json:"work"`
	Tools map[string]usage `json:"tools"`
	// Wall and CPU are the engine's parts of the peer that the goal names (restic where there is none); Stored likewise.
	Peer   string  `json:"peer,omitempty"`
	Wall   float64 `json:"wall_ratio,omitempty"`
	CPU    float64 `json:"cpu_ratio,omitempty"`
	Stored float64 `json:"stored_ratio,omitempty"`
	Bare   float64 `json:"wall_to_bare,omitempty"`
	// Goal is what the wall ratio, or the stored one, may be at most; 0: no goal.
	Goal float64 `json:"goal,omitempty"`
	Met  bool    `json:"met"`
}

func (r *results) rows() []row {
	var out []row
	for _, k := range r.keys {
		w := row{Tree: k.tree, Work: k.work, Tools: map[string]usage{}}
		for tool, of := range r.all[k] {
			w.Tools[tool] = medians(of)
		}
		w.compare(goals[k])
		out = append(out, w)
	}
	return out
}

func part(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

func (w *row) compare(g goal) {
	own, ok := w.Tools["strongroom"]
	if !ok {
		return
	}
	w.Goal = g.ratio
	w.Peer = "restic"
	if b, ok := w.Tools["borg"]; ok && g.fastest && b.Wall < w.Tools["restic"].Wall {
		w.Peer = "borg"
	}
	peer, ok := w.Tools[w.Peer]
	if !ok {
		w.Peer = ""
	}
	w.Wall, w.CPU, w.Stored = part(own.Wall, peer.Wall), part(own.CPU, peer.CPU), part(own.Stored, peer.Stored)
	w.Bare = part(own.Wall, w.Tools["bare"].Wall)
	w.Met = true
	if g.ratio > 0 {
		w.Met = max(w.Wall, w.Stored) <= g.ratio && w.Peer != ""
	}
	if g.bare > 0 {
		w.Met = w.Met && w.Bare <= g.bare
	}
	if g.seconds > 0 {
		w.Goal, w.Met = g.seconds, own.Wall <= g.seconds
	}
}

func (r *results) print() {
	tools := []string{"strongroom", "restic", "borg", "bare"}
	fmt.Printf("\nmedians: wall s · cpu s · peak MB (stored: MB); ratios to the peer that the goal names\n%-18s %-25s", "", "")
	for _, t := range tools {
		fmt.Printf(" %22s", t)
	}
	fmt.Printf(" %6s %6s %6s %6s\n", "wall", "cpu", "goal", "×bare")
	for _, w := range r.rows() {
		fmt.Printf("%-18s %-25s", w.Tree, w.Work)
		for _, t := range tools {
			u, ok := w.Tools[t]
			switch {
			case !ok:
				fmt.Printf(" %22s", "-")
			case u.Wall == 0:
				fmt.Printf(" %22.1f", u.Stored)
			default:
				fmt.Printf(" %22s", fmt.Sprintf("%.2f · %.2f · %.0f", u.Wall, u.CPU, u.RSS))
			}
		}
		mark := ""
		if w.Goal > 0 && !w.Met {
			mark = " missed"
		}
		fmt.Printf(" %6s %6s %6s %6s%s\n", ratio(max(w.Wall, w.Stored)), ratio(w.CPU), ratio(w.Goal), ratio(w.Bare), mark)
	}
}

func ratio(v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", v)
}
