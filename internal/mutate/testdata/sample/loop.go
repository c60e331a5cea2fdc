package sample

// Halves counts how often n can be halved.
func Halves(n int) (rounds int) {
	for {
		if n == 0 {
			return rounds
		}
		n /= 2
		rounds++
	}
}
