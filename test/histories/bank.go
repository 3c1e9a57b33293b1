// SPDX-License-Identifier: BSD-3-Clause
//
// The bank: accounts over all shards, money that only moves. Transfers go by WATCH and MULTI, by
// scripts that declare their keys, by scripts that do not, and by MULTI of INCRBY and DECRBY.
// Readers by MGET, by MULTI of GETs and by both kinds of script must always see the same total; at
// the end every account must hold what its confirmed transfers say.

package main

import (
	"fmt"
	"math/rand"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	accounts       = 24
	deposit        = 1000
	bankers        = 8
	auditors       = 3
	transferScript = `local a, b = %s, %s
if tonumber(redis.call('GET', a)) < tonumber(ARGV[1]) then return 0 end
redis.call('DECRBY', a, ARGV[1])
redis.call('INCRBY', b, ARGV[1])
return 1`
	auditScript = `local sum = 0
for i = 1, #%[1]s do sum = sum + redis.call('GET', %[1]s[i]) end
return sum`
)

type banker struct {
	*lab
	*conn
	dice  *rand.Rand
	delta []int64 // shared, atomic: what each account has won by confirmed transfers
	busy  int64   // EXEC answered null
	key   func(int) string
}

func bank(l *lab) {
	key := func(i int) string { return fmt.Sprintf("bank:%d:%d", l.seed, i) }
	delta := make([]int64, accounts)
	control := l.connect()
	for i := range delta {
		l.must(control, "SET", key(i), strconv.Itoa(deposit))
	}
	var transfers, busy, audits int64
	together(bankers+auditors+1, func(i int) {
		if i == bankers+auditors {
			for dice := l.dice(i); !l.isOver(); time.Sleep(50 * time.Millisecond) {
				l.pauseAll(control, dice)
			}
			return
		}
		b := &banker{lab: l, conn: l.connect(), dice: l.dice(i), delta: delta, key: key}
		defer b.close()
		for n := 0; !l.isOver(); n++ {
			if i < bankers {
				b.transfer((n + i) % 5)
				atomic.AddInt64(&transfers, 1)
			} else {
				b.audit((n + i) % 4)
				atomic.AddInt64(&audits, 1)
			}
			l.count(1)
		}
		atomic.AddInt64(&busy, b.busy)
	})
	for i := range delta {
		if got := l.must(control, "GET", key(i)).number(); got != deposit+delta[i] {
			l.violation("account %d holds %d; its transfers say %d", i, got, deposit+delta[i])
		}
	}
	l.note("%d transfers (%d met another), %d audits", transfers, busy, audits)
}

func (b *banker) transfer(how int) {
	pair := b.dice.Perm(accounts)[:2]
	from, to := b.key(pair[0]), b.key(pair[1])
	amount := 1 + b.dice.Intn(20)
	text := strconv.Itoa(amount)
	done := false
	isScript := how == 1 || how == 2
	if isScript && !b.has("scripts") || !isScript && !b.has("transactions") {
		return
	}
	switch how {
	case 0:
		done = b.byWatch(from, to, amount)
	case 1:
		done = b.ask("EVAL", fmt.Sprintf(transferScript, "KEYS[1]", "KEYS[2]"), "2", from, to,
			text).text == "1"
	case 2:
		done = b.ask("EVAL", fmt.Sprintf(transferScript, "ARGV[2]", "ARGV[3]"), "0", text, from,
			to).text == "1"
	case 3:
		done = b.transaction([]string{"DECRBY", from, text}, []string{"INCRBY", to, text}) != nil
	default: // pipelined with others
		third := b.key((pair[1] + 1) % accounts)
		done = b.transaction([]string{"DECRBY", from, text}, []string{"MGET", from, third},
			[]string{"INCRBY", to, text}) != nil
	}
	if done {
		atomic.AddInt64(&b.delta[pair[0]], -int64(amount))
		atomic.AddInt64(&b.delta[pair[1]], int64(amount))
	}
}

func (b *banker) ask(words ...string) reply {
	return b.must(b.conn, words...)
}

// byWatch reads both accounts and writes both, if nobody else did so meanwhile.
func (b *banker) byWatch(from, to string, amount int) bool {
	b.ask("WATCH", from, to)
	left := b.ask("GET", from).number() - int64(amount)
	right := b.ask("GET", to).number() + int64(amount)
	if left < 0 {
		b.ask("UNWATCH")
		return false
	}
	if b.transaction([]string{"SET", from, strconv.FormatInt(left, 10)},
		[]string{"SET", to, strconv.FormatInt(right, 10)}) == nil {
		b.busy++
		return false
	}
	return true
}

// transaction returns EXEC's replies, or nil if it answered null.
func (b *banker) transaction(commands ...[]string) []reply {
	if b.sabotage == "torn" {
		var replies []reply
		for _, words := range commands {
			replies = append(replies, b.ask(words...))
		}
		return replies
	}
	b.put("MULTI")
	for i, words := range commands {
		if b.sabotage != "lost" || i == 0 || words[0] == "GET" || b.dice.Intn(50) != 0 {
			b.put(words...)
		} else {
			b.put("PING")
		}
	}
	b.put("EXEC")
	err := b.flush()
	var end reply
	for i := 0; i < len(commands)+2 && err == nil; i++ {
		end, err = b.read()
	}
	if err != nil || end.kind != '*' || (!end.isNil && len(end.items) != len(commands)) {
		b.violation("EXEC of %v: %s %s %v", commands, end, end.text, err)
		b.finish()
	}
	if end.isNil {
		return nil
	}
	return end.items
}

func (b *banker) audit(how int) {
	if how == 1 && !b.has("transactions") || how > 1 && !b.has("scripts") {
		how = 0
	}
	keys := make([]string, accounts)
	gets := make([][]string, accounts)
	for i, account := range b.dice.Perm(accounts) {
		keys[i] = b.key(account)
		gets[i] = []string{"GET", keys[i]}
	}
	var sum int64
	var values []reply
	switch how {
	case 0:
		values = b.ask(append([]string{"MGET"}, keys...)...).items
	case 1:
		values = b.transaction(gets...)
	case 2:
		sum = b.ask(append([]string{"EVAL", fmt.Sprintf(auditScript, "KEYS"),
			strconv.Itoa(accounts)}, keys...)...).number()
	default:
		sum = b.ask(append([]string{"EVAL", fmt.Sprintf(auditScript, "ARGV"), "0"},
			keys...)...).number()
	}
	var seen []string
	for i, value := range values {
		sum += value.number()
		seen = append(seen, keys[i]+"="+value.text)
	}
	if sum != accounts*deposit {
		b.violation("%v after the start, %s saw %d in all, not %d: %s", time.Since(b.began),
			[]string{"MGET", "MULTI", "a script", "a script without declared keys"}[how], sum,
			accounts*deposit, strings.Join(seen, " "))
	}
}
