// SPDX-License-Identifier: BSD-3-Clause
//
// gyre-crash-test: a server is killed with SIGKILL at random moments under a mixed load, restarted
// on what it left, and asked whether everything is there.
//
//	gyre-crash-test [options] SERVER
//
// A round: start with a number of threads, an I/O backend and an fsync policy chosen by lot; check the
// data; load; kill (sometimes SIGTERM). The data set is carried over the rounds, so all that any round
// acknowledged must be there at the end. Every acknowledged write has to be there, in order per key,
// whatever the policy: SIGKILL takes nothing from the page cache. What was in flight is there or
// not, but whole. Nothing may be there that nobody sent, nothing twice. Rewrites and snapshots run
// at random; a snapshot that was finished is loaded by a server of its own and must be one cut.
//
//	model.go    what a client knows of the keys that only it writes
//	pieces.go   the commands on those         client.go   units, pipelines, what became of them
//	shared.go   keys that all write: a bank, stamps, counters, lines, queues, wandering members
//	look.go     what a server has             server.go   starting and killing it
//	round.go    a round
//
// The last line is `crash: N rounds, N operations, N violations`; the status is 0 only without
// violations. After the first round with one it stops, and keeps the directory: data-before is what
// the server found, data is what it has made of that. What clients do follows from the seed; when the
// kill meets them, from chance.
//
// Sabotage makes this program lie to itself, to show that a server which did the like would be
// caught: "lost" does not send some writes, "torn" sends some transfers half, "cut" cuts the end off
// a log before the restart.

package main

import (
	"flag"
	"fmt"
	"io/ioutil"
	"math/rand"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxReports = 4
	consumers  = 3
	loners     = 2 // clients in databases of their own
	settings   = "policy, threads and io are lists: one is drawn for each round"
)

var readLimit = 30 * time.Second

type options struct {
	rounds            int
	seed              int64
	policies, threads string
	backends          string
	longest, shortest time.Duration
	checker           string
	without, sabotage string
	folder            string
	clients           int
	longWords         int
	toggles, keep     bool
	isVerbose         bool
}

type world struct {
	*shared
	options
	program       string
	folder        string // holds data, data-before, log
	dice          *rand.Rand
	users         []*client
	knowsFieldTTL bool
	round         int
	about         string // of this round
	killed        int32  // atomic: the kill is on its way
	ending        int32  // atomic: SIGTERM
	isUnlogged    int32  // atomic: the log is off, or not whole yet
	crashed       int64  // Unix ms: no command ran later
	isFounded     bool
	operations    int64 // atomic
	violations    int64 // atomic
	printing      sync.Mutex
}

func (w *world) isKilled() bool { return atomic.LoadInt32(&w.killed) != 0 }
func (w *world) isEnding() bool { return atomic.LoadInt32(&w.ending) != 0 }
func (w *world) count(n int)    { atomic.AddInt64(&w.operations, int64(n)) }

// has tells whether -without leaves this in.
func (w *world) has(what string) bool { return !strings.Contains(w.without, what) }

func (w *world) dir() string { return filepath.Join(w.folder, "data") }

func (w *world) violation(format string, args ...interface{}) {
	if atomic.AddInt64(&w.violations, 1) > maxReports {
		return
	}
	w.printing.Lock()
	defer w.printing.Unlock()
	fmt.Printf("violation: seed %d, round %d (%s): %s\n", w.seed, w.round, w.about,
		fmt.Sprintf(format, args...))
}

func (w *world) isBroken() bool { return atomic.LoadInt64(&w.violations) != 0 }

func main() {
	o := options{}
	flag.IntVar(&o.rounds, "rounds", 6, "how often to kill")
	flag.Int64Var(&o.seed, "seed", 1, "of everything that is drawn")
	flag.StringVar(&o.policies, "policy", "always,everysec,no", settings)
	flag.StringVar(&o.threads, "threads", "4,2,1", "see -policy")
	flag.StringVar(&o.backends, "io", "uring,poll", "see -policy")
	flag.DurationVar(&o.shortest, "shortest", 50*time.Millisecond, "load before the kill")
	flag.DurationVar(&o.longest, "longest", 2*time.Second, "load before the kill")
	flag.StringVar(&o.checker, "check", "", "gyre-check, which has to find no damage")
	flag.StringVar(&o.without, "without", "",
		"what to leave out: scripts transactions queues rewrites snapshots early stops")
	flag.StringVar(&o.sabotage, "sabotage", "", "lost, torn or cut")
	flag.StringVar(&o.folder, "folder", "", "where to work; otherwise a new one in /tmp")
	flag.IntVar(&o.clients, "clients", 8, "that write")
	flag.IntVar(&o.longWords, "long", 300, "one word in so many has up to 100 KB")
	flag.BoolVar(&o.toggles, "toggles", false, "CONFIG SET appendonly no and yes under load")
	flag.BoolVar(&o.keep, "keep", false, "keep the directory in any case")
	flag.BoolVar(&o.isVerbose, "verbose", false, "a line for each round")
	flag.Parse()
	runtime.LockOSThread() // the servers die with the thread that started them
	if flag.NArg() != 1 {
		fmt.Println("usage: gyre-crash-test [options] SERVER")
		flag.PrintDefaults()
		os.Exit(2)
	}
	if patience, err := strconv.ParseFloat(os.Getenv("GYRE_TEST_PATIENCE"), 64); err == nil {
		readLimit = time.Duration(float64(readLimit) * patience)
	}
	os.Exit(run(o, flag.Arg(0)))
}

func run(o options, program string) int {
	folder := o.folder
	if folder == "" {
		var err error
		if folder, err = ioutil.TempDir("", "gyre-crash-"); err != nil {
			fmt.Println(err)
			return 2
		}
	}
	w := &world{options: o, program: program, folder: folder,
		dice: rand.New(rand.NewSource(o.seed))}
	w.newUsers()
	if err := os.MkdirAll(w.dir(), 0755); err != nil {
		fmt.Println(err)
		return 2
	}
	fmt.Printf("seed %d, in %s\n", o.seed, folder)
	done := 0
	for ; done < o.rounds && !w.isBroken(); done++ {
		w.round = done
		w.play(done+1 == o.rounds)
	}
	fmt.Printf("crash: %d rounds, %d operations, %d violations\n", done, w.operations, w.violations)
	if w.isBroken() {
		return 1
	}
	if !o.keep {
		os.RemoveAll(folder)
	}
	return 0
}

// newUsers forgets all: no data, and clients who know nothing.
func (w *world) newUsers() {
	w.shared = newShared()
	w.users = nil
	for i := 0; i < w.clients; i++ {
		c := &client{world: w, number: i, prefix: fmt.Sprintf("c%d:", i), model: newModel(),
			dice: rand.New(rand.NewSource(w.seed*1000003 + int64(w.round*1000+i)))}
		if i < loners {
			c.isAlone, c.database = true, 2+2*i
		}
		w.users = append(w.users, c)
	}
	atomic.StoreInt32(&w.isUnlogged, 0)
}

func (w *world) draw(list string) string {
	words := strings.Split(list, ",")
	return words[w.dice.Intn(len(words))]
}

func (w *world) drawServer() serverOptions {
	threads, _ := strconv.Atoi(w.draw(w.threads))
	return serverOptions{program: w.program, dir: w.dir(), policy: w.draw(w.policies),
		io: w.draw(w.backends), threads: threads, isAppendOnly: true}
}
