// Suites of what users of Kafka's Go clients depend on, one file a client.
//
// Usage: clients franz|sarama|segmentio HOST:PORT [NAME...]
package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"slices"
	"time"
)

// fact is a statement about the broker at an address; check panics when it does not hold.
type fact struct {
	name  string
	check func(bootstrap string)
}

// must is for what may not fail.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func got[T any](value T, err error) T {
	must(err)
	return value
}

// hold fails unless the statement is true; the rest says what was found.
func hold(statement bool, found ...any) {
	if !statement {
		panic(fmt.Sprint(found...))
	}
}

// fresh is a name nobody has used.
func fresh(what string) string {
	return what + "-" + rand.Text()[:12]
}

// eventually waits for a true answer.
func eventually(what string, question func() bool) {
	end := time.Now().Add(30 * time.Second)
	for !question() {
		hold(time.Now().Before(end), "not within the time: ", what)
		time.Sleep(20 * time.Millisecond)
	}
}

// together checks something of each at the same time: groups mostly wait.
func together[T any](each []T, check func(T)) {
	troubles := make(chan any, len(each))
	for _, one := range each {
		go func() {
			defer func() { troubles <- recover() }()
			check(one)
		}()
	}
	for range each {
		trouble := <-troubles
		hold(trouble == nil, trouble)
	}
}

// numbers are the values "0", "1"... up to the count.
func numbers(count int) []string {
	values := make([]string, count)
	for number := range values {
		values[number] = fmt.Sprint(number)
	}
	return values
}

// base is a round time to stamp records from.
var base = time.UnixMilli(1_700_000_000_000)

func run(fact fact, bootstrap string) (holds bool) {
	began := time.Now()
	defer func() {
		outcome := "ok"
		if trouble := recover(); trouble != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", fact.name, trouble)
			outcome = "FAILED"
		}
		holds = outcome == "ok"
		fmt.Printf("%s ... %s (%.1f s)\n", fact.name, outcome, time.Since(began).Seconds())
	}()
	fact.check(bootstrap)
	return
}

func main() {
	suites := map[string][]fact{"franz": franzFacts, "sarama": saramaFacts, "segmentio": segmentioFacts}
	facts, bootstrap, names := suites[os.Args[1]], os.Args[2], os.Args[3:]
	holds := len(facts) > 0
	for _, fact := range facts {
		if len(names) == 0 || slices.Contains(names, fact.name) {
			holds = run(fact, bootstrap) && holds
		}
	}
	if !holds {
		os.Exit(1)
	}
}
