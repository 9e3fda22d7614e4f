#!/usr/bin/env python3
"""Scores an online detector against the truth of series made by synth.py.  Plain Python, nothing to install.
score.rs beside it is its port, which `cargo bench --bench detection` uses; tests/detection.rs holds both
against each other.

  python3 synth.py --seed 7 --out set.jsonl
  tardy detect set.jsonl > alerts.jsonl
  python3 evaluate.py --truth set.jsonl --alerts alerts.jsonl [--horizon 50] [--merge 10] [--by family] [--json]

alerts.jsonl: one object per alert {"id": series id, "i": index of the point whose arrival raised the alert [, "dir": "up"|"down"]}.
 dir is optional (absent = up).  --dir up (default) scores only "up" alerts; --dir both scores all, for sets whose truth has both.
Rules
 must event (shift/drift that can be told): detected if an alert falls in [start, start+H), H=min(horizon, len) for a shift,
   drift: H = len(drift)+horizon.  delay = first such alert - start.
 further alerts in the same window are repeats (reported, not false);  alerts up to 3H after start (before the next event) are neutral.
 neutral events (down, transient, variance for 50 points, must=False shifts for 3*horizon): alerts there cost nothing.
   For `down` the window is 3*horizon, so that slow forgetting is not punished twice.
 every other alert is false; false alerts closer than --merge points to the previous false alert of the series are one false alarm.
 precision = detected/(detected+false alarms); recall = detected/must; FA/1000 = false alarms per 1000 points outside windows."""
import argparse, json, statistics as st, collections

def windows(s, horizon):
    W=[]; ev=sorted(s['events'],key=lambda e:e['start']); n=s['n']
    for k,e in enumerate(ev):
        nxt=ev[k+1]['start'] if k+1<len(ev) else n
        L=e['end']-e['start']
        if e['must']:
            H=min(horizon,L) if e['kind']=='shift' else L+horizon
            W.append((e['start'],min(e['start']+H,n,max(nxt,e['start']+1)),'must',e))
            W.append((min(e['start']+H,n),min(e['start']+max(3*H,3*horizon),nxt,n),'neutral',e))
        else:
            ln={'transient':L+10,'variance':50}.get(e['kind'],3*horizon if e['kind']!='drift' else L+3*horizon)
            W.append((e['start'],min(e['start']+ln,nxt,n),'neutral',e))
    return W

def score(series, alerts, horizon=50, merge=10):
    """series: iterable of dicts; alerts: {id: sorted list of idx}. returns per-series rows"""
    rows=[]
    for s in series:
        A=sorted(set(alerts.get(s['id'],()))); W=windows(s,horizon); cover=[None]*s['n']
        for a,b,k,e in W:
            for i in range(a,b):
                if cover[i] is None or k=='must': cover[i]=(k,id(e))
        det=[]; rep=0
        for a,b,k,e in W:
            if k!='must': continue
            hit=[i for i in A if a<=i<b and cover[i]==('must',id(e))]
            det.append((e, (hit[0]-e['start']) if hit else None)); 
            # repeats: merged incidents inside the window after the first
            last=None
            for i in hit:
                if last is not None and i-last>merge: rep+=1
                last=i
        fa=0; last=None
        for i in A:
            if 0<=i<s['n'] and cover[i] is None:
                if last is None or i-last>merge: fa+=1
                last=i
        rows.append(dict(id=s['id'],family=s['family'],n=s['n'],clear=sum(c is None for c in cover),fa=fa,rep=rep,det=det))
    return rows

def summary(rows):
    tp=[d for r in rows for e,d in r['det'] if d is not None]; must=sum(len(r['det']) for r in rows); fa=sum(r['fa'] for r in rows); clear=sum(r['clear'] for r in rows)
    P=len(tp)/(len(tp)+fa) if tp or fa else float('nan'); R=len(tp)/must if must else float('nan')
    q=sorted(tp)
    return dict(series=len(rows),points=sum(r['n'] for r in rows),must=must,detected=len(tp),false_alarms=fa,repeats=sum(r['rep'] for r in rows),
        precision=round(P,4),recall=round(R,4),f1=round(2*P*R/(P+R),4) if P and R and P==P and R==R else 0.0,
        delay_median=st.median(q) if q else None,delay_p90=q[int(.9*(len(q)-1))] if q else None,fa_per_1000=round(1000*fa/clear,3) if clear else None,
        series_with_fa=round(sum(r['fa']>0 for r in rows)/len(rows),4))

def load_alerts(path,direction='up'):
    A=collections.defaultdict(list)
    for l in open(path):
        if l.strip():
            d=json.loads(l)
            if direction=='both' or d.get('dir','up')==direction: A[d['id']].append(d['i'])
    return A

def bucket(rows, key):
    B=collections.OrderedDict()
    for r in rows:
        for e,d in r['det']:
            B.setdefault(key(e),[]).append(d)
    return {k:dict(must=len(v),recall=round(sum(x is not None for x in v)/len(v),3),delay_median=(st.median([x for x in v if x is not None]) if any(x is not None for x in v) else None)) for k,v in sorted(B.items(),key=lambda x:str(x[0]))}

if __name__=='__main__':
    ap=argparse.ArgumentParser(); ap.add_argument('--truth',required=True); ap.add_argument('--alerts',required=True); ap.add_argument('--horizon',type=int,default=50); ap.add_argument('--merge',type=int,default=10); ap.add_argument('--by',choices=['family','factor','snr']); ap.add_argument('--json',action='store_true'); ap.add_argument('--dir',default='up',choices=['up','down','both']); x=ap.parse_args()
    S=[json.loads(l) for l in open(x.truth)]; rows=score(S,load_alerts(x.alerts,x.dir),x.horizon,x.merge); m=summary(rows)
    if x.json: print(json.dumps(m))
    else:
        for k,v in m.items(): print(f'{k:16} {v}')
    if x.by=='family':
        fams=collections.OrderedDict()
        for r in rows: fams.setdefault(r['family'],[]).append(r)
        for f,rr in fams.items():
            q=summary(rr); print(f"{f:16} must {q['must']:4} recall {q['recall']} delay {q['delay_median']} FA {q['false_alarms']} FA/1000 {q['fa_per_1000']}")
    elif x.by:
        key=(lambda e:e['factor']) if x.by=='factor' else (lambda e:'a <1.5' if e['snr']<1.5 else 'b 1.5-3' if e['snr']<3 else 'c 3-6' if e['snr']<6 else 'd >=6')
        for k,v in bucket(rows,key).items(): print(k,v)
