package harness

import (
	"fmt"
	"slices"

	"github.com/authkit-go/authkit/benchmarks/internal/peers"
)

// A Verdict is one line of the summary.
type Verdict struct {
	What      string  `json:"what"`
	Ours      string  `json:"ours"`
	OursNs    float64 `json:"ours_ns"`
	Against   string  `json:"against"`
	AgainstNs float64 `json:"against_ns"`
	Ratio     float64 `json:"ratio"`
	Spread    float64 `json:"spread"`              // the larger of the two
	Max       float64 `json:"max_ratio,omitempty"` // if zero, only reported
	Allocs    float64 `json:"allocs_per_op"`       // negative: not counted
	MaxAllocs float64 `json:"max_allocs_per_op,omitempty"`
	Met       bool    `json:"met"`
}

// Judge applies the group's checks to its measurements.
func Judge(g Group, measured []Measured) ([]Verdict, error) {
	find := func(name string) (Measured, error) {
		i := slices.IndexFunc(measured, func(m Measured) bool { return m.Name == name })
		if i < 0 {
			return Measured{}, fmt.Errorf("%s: no contender %q", g.Name, name)
		}
		return measured[i], nil
	}
	var verdicts []Verdict
	for _, c := range g.Checks {
		ours, err := find(c.Ours)
		if err != nil {
			return nil, err
		}
		var against Measured
		switch c.Against {
		case "":
			against, err = fastest(g, measured, peers.Peer)
		case AnyPeer:
			against, err = fastest(g, measured, peers.Peer, peers.Tuned)
		default:
			against, err = find(c.Against)
		}
		if err != nil {
			return nil, err
		}
		if c.Against == AnyPeer && against.Kind == peers.Peer {
			continue // reported above
		}
		v := Verdict{
			What: c.What, Ours: ours.Name, OursNs: ours.Median, Against: against.Name, AgainstNs: against.Median,
			Ratio: ours.Median / against.Median, Spread: max(ours.spread(), against.spread()), Max: c.Max, Allocs: ours.Allocs, MaxAllocs: c.MaxAllocs,
		}
		if v.What == "" {
			v.What = g.Name
		}
		if c.MaxAllocs == AsAgainst {
			v.MaxAllocs = against.Allocs
		}
		v.Met = (c.Max == 0 || v.Ratio <= c.Max) && (c.MaxAllocs == 0 || v.Allocs <= v.MaxAllocs)
		verdicts = append(verdicts, v)
	}
	return verdicts, nil
}

func fastest(g Group, measured []Measured, kinds ...peers.Kind) (Measured, error) {
	var best Measured
	for _, m := range measured {
		if slices.Contains(kinds, m.Kind) && (best.Name == "" || m.Median < best.Median) {
			best = m
		}
	}
	if best.Name == "" {
		return Measured{}, fmt.Errorf("%s: no peer to judge by", g.Name)
	}
	return best, nil
}
