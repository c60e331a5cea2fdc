package contract

import "context"

// CheckOne carries out one attack. For a passive one, it carries out the others
// until the passive one has found something.
func CheckOne(ctx context.Context, target Target, id string) (Result, error) {
	p, err := newProbe(ctx, target)
	if err != nil {
		return Result{}, err
	}
	defer p.close()
	all := Attacks()
	for _, a := range all {
		if a.ID != id {
			continue
		}
		for i := 0; a.run == nil && i < len(all) && p.passive[id] == (leak{}); i++ {
			p.carryOut(ctx, all[i])
		}
		return p.carryOut(ctx, a), nil
	}
	return Result{}, nil
}
