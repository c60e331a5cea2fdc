package cache_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/authkit-go/authkit/internal/cache"
)

func TestCache(t *testing.T) {
	t.Parallel()
	c := cache.New[int](100)
	if _, ok := c.Get("a"); ok {
		t.Error("an empty cache holds something")
	}
	c.Put("a", 1)
	c.Put("b", 2)
	c.Put("a", 3)
	for key, want := range map[string]int{"a": 3, "b": 2} {
		if got, ok := c.Get(key); !ok || got != want {
			t.Errorf("%s: %d, %v", key, got, ok)
		}
	}
	for _, key := range []string{"", "A", "a ", "aa", "\x00", "a\x00"} {
		if got, ok := c.Get(key); ok || got != 0 {
			t.Errorf("%q: %d", key, got)
		}
	}
}

// Keys are told apart by all of their bytes, however many there are.
func TestCacheLongKeys(t *testing.T) {
	t.Parallel()
	c := cache.New[int](1000)
	keys := []string{""}
	for _, n := range []int{1, 31, 32, 63, 64, 65, 1023, 1024, 1025, 8192, 100_000} {
		long := strings.Repeat("x", n)
		keys = append(keys, long, long[:n-1]+"y", "y"+long[1:]+"z")
	}
	for i, key := range keys {
		c.Put(key, i)
	}
	for i, key := range keys {
		if got, ok := c.Get(key); !ok || got != i {
			t.Errorf("key %d of %d bytes: %d, %v", i, len(key), got, ok)
		}
	}
}

// A cache of any size holds no more than it should, and a good part of that.
func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 2, 3, 15, 16, 17, 31, 33, 100, 1000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			c := cache.New[int](size)
			const keys = 20_000
			for i := range keys {
				c.Put(fmt.Sprint(i), i)
				if got, ok := c.Get(fmt.Sprint(i)); !ok || got != i {
					t.Fatalf("what was just put in is gone: %d", i)
				}
			}
			held := 0
			for i := range keys {
				if got, ok := c.Get(fmt.Sprint(i)); ok {
					held++
					if got != i {
						t.Fatalf("%d is %d", i, got)
					}
				}
			}
			if held > size || held < (size+1)/2 {
				t.Errorf("%d held", held)
			}
			// To put in again what is there drives nothing out.
			for i := range keys {
				if _, ok := c.Get(fmt.Sprint(i)); ok {
					c.Put(fmt.Sprint(i), -i)
				}
			}
			still := 0
			for i := range keys {
				if got, ok := c.Get(fmt.Sprint(i)); ok {
					still++
					if got != -i {
						t.Fatalf("%d is %d", i, got)
					}
				}
			}
			if still != held {
				t.Errorf("%d held, then %d", held, still)
			}
		})
	}
}

// RE-01.
func TestCacheConcurrently(t *testing.T) {
	t.Parallel()
	c := cache.New[[2]int](64)
	var wg sync.WaitGroup
	for g := range 64 {
		wg.Go(func() {
			for i := range 500 {
				key := (g*31 + i) % 200
				c.Put(fmt.Sprint(key), [2]int{key, key})
				if got, ok := c.Get(fmt.Sprint((key + i) % 200)); ok && got != [2]int{(key + i) % 200, (key + i) % 200} {
					t.Errorf("%d: %v", (key+i)%200, got)
				}
			}
		})
	}
	wg.Wait()
}

// A look-up allocates nothing, for a key of the usual length.
func TestCacheAllocations(t *testing.T) {
	c := cache.New[int](16)
	key := strings.Repeat("x", 900)
	c.Put(key, 1)
	if n := testing.AllocsPerRun(100, func() { _, _ = c.Get(key) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
