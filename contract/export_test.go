package contract

import "context"

// CheckOne carries out one attack.
func CheckOne(ctx context.Context, target Target, id string) (Result, error) {
	p, err := newProbe(ctx, target)
	if err != nil {
		return Result{}, err
	}
	defer p.close()
	for _, a := range Attacks() {
		if a.ID == id {
			return p.carryOut(ctx, a), nil
		}
	}
	return Result{}, nil
}
