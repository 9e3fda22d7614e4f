#!/usr/bin/env python3
"""Writes tests/fixtures/detection/reference.json: what evaluate.py says of alerts, for the test of its port.

  python3 benches/detection/reference.py

Cases are the development set with alerts drawn at random, at the edges of all windows above all, and small
series in which windows end, meet and overlap.
"""
import sys; sys.dont_write_bytecode=True
import gzip, json, os, random
import evaluate

HERE=os.path.dirname(os.path.abspath(__file__))
def event(kind,start,end,must=True): return dict(kind=kind,start=start,end=end,factor=1.5,snr=3.0,must=must)
def series(name,n,*events): return dict(id=name,family=name.split('-')[0],n=n,t=list(range(n)),v=[1.0]*n,events=list(events))

EDGES=[                                                 # series, alerts
 (series('plain-none',100),[]),
 (series('plain-merge',100),[0,10,20,31,42,43,99]),     # 10 apart are one alarm, 11 are two
 (series('plain-chain',100),list(range(0,100,10))),     # a chain of near alarms is one
 (series('plain-outside',20),[5,20,21,400]),            # beyond the end is nowhere
 (series('shift-edges',400,event('shift',100,400)),[99,100,149,150,249,250]),
 (series('shift-late',400,event('shift',100,400)),[150]),
 (series('shift-first',400,event('shift',100,400)),[100]),
 (series('shift-last',400,event('shift',100,400)),[149]),
 (series('shift-repeats',400,event('shift',100,400)),[103,113,114,125,136]),
 (series('shift-twice',400,event('shift',100,400)),[103,103,104]),
 (series('shift-short',400,event('shift',100,120),event('down',120,400,False)),[119,120,269,270]),
 (series('shift-end',120,event('shift',100,120)),[119]),
 (series('shift-point',60,event('shift',59,60)),[58,59]),
 (series('shift-empty',60,event('shift',30,30)),[30,31]),
 (series('shift-optional',400,event('shift',100,400,False)),[99,100,249,250]),
 (series('overlap-near',400,event('shift',100,400),event('shift',120,400)),[119,120,169,170]),
 (series('overlap-same',400,event('shift',100,400),event('shift',100,400)),[100,101]),
 (series('overlap-next',400,event('shift',100,400),event('shift',101,400)),[100,101]),
 (series('overlap-drift',400,event('drift',100,180),event('shift',150,400)),[140,151,300]),
 (series('overlap-neutral',400,event('variance',90,400,False),event('shift',100,400)),[91,105,140]),
 (series('overlap-covered',400,event('shift',100,400),event('transient',110,115,False)),[105,112,130]),
 (series('overlap-unsorted',400,event('shift',200,400),event('down',100,200,False)),[99,150,199,205]),
 (series('drift-edges',400,event('drift',100,160)),[99,100,209,210,489]),
 (series('drift-optional',400,event('drift',100,160,False)),[99,309,310]),
 (series('transient-edges',100,event('transient',40,45,False)),[39,40,54,55]),
 (series('variance-edges',200,event('variance',60,200,False)),[59,60,109,110]),
 (series('down-edges',400,event('down',60,400,False)),[59,60,209,210]),
]

def drawn(r,s):
    """Alerts: none, a few, or many, half of them next to the edge of a window."""
    edges=[i for w in evaluate.windows(s,50) for i in (w[0]-1,w[0],w[1]-1,w[1])]
    k=r.choice([0,1,2,5,20])
    drawn=[r.choice(edges) if edges and r.random()<.5 else r.randrange(s['n']) for _ in range(k)]
    return sorted(i for i in drawn if i>=0)

def row(r): return [r['clear'],r['fa'],r['rep'],[d for _,d in r['det']]]
def case(name,S,A):
    rows=evaluate.score(S,A)
    return dict(name=name,alerts=[A.get(s['id'],[]) for s in S],rows=[row(r) for r in rows],summary={k:None if v!=v else v for k,v in evaluate.summary(rows).items()})

if __name__=='__main__':
    dev=[json.loads(l) for l in gzip.open(os.path.join(HERE,'dev.jsonl.gz'),'rt')]
    r=random.Random(1)
    edges=[s for s,_ in EDGES]
    small=[{k:s[k] for k in ('id','family','n','events')} for s in edges]
    cases=[case('development set',dev,{s['id']:drawn(r,s) for s in dev}),
           dict(case('edges',edges,{s['id']:a for s,a in EDGES}),series=small)]
    cases+=[dict(case(s['id'],[s],{s['id']:a}),series=[q]) for (s,a),q in zip(EDGES,small)]
    out=os.path.join(HERE,'../../tests/fixtures/detection/reference.json')
    with open(out,'w') as f:
        f.write('{"made_by":"python3 benches/detection/reference.py","cases":[\n'+',\n'.join(json.dumps(c,separators=(',',':')) for c in cases)+'\n]}\n')
