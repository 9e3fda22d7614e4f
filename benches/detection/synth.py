#!/usr/bin/env python3
"""Seedable generator of pipeline-like duration series with ground truth.

  python3 synth.py --seed 7 --out set.jsonl  [--scale 1.0]

Needs numpy.  dev.jsonl.gz beside it is seed 1, the set the detector was tuned on; any other seed is new to it.

One JSON object per line:
  id, family, n, t (unix seconds, irregular), v (seconds),
  sigma   (true std of log-noise, excluding outliers),
  events  [{kind, start, end, factor, snr, must}]
kind: shift | drift           level of the log-duration really rises; must=True when it is big enough to be told (snr >= 0.75
                              and factor >= 1.2), otherwise must=False (neutral: alerting or not costs nothing)
      down                    level falls (always neutral)
      transient               3..9 slow runs in a row (neutral)
      variance                spread changes, median does not (neutral for 50 points, then the new spread is normal)
Single slow runs (outliers), fast failures, seasonality, two-mode caches, quantised clocks, slow growth <= 15 % are NOT events:
an "up" alert there is a false alarm.  All times UTC.
"""
import argparse, json, math
import numpy as np

DAY=86400
def schedule(r, kind, n, t0=1735689600):     # 2025-01-01 Wednesday
    if kind=='hourly': t=t0+np.arange(n)*3600+r.integers(0,120,n)
    elif kind=='quarter': t=t0+np.arange(n)*900+r.integers(0,60,n)
    elif kind=='daily': t=t0+np.arange(n)*DAY+6*3600+r.integers(0,900,n)
    elif kind=='weekday':
        d=np.arange(int(n*7/5)+14); wd=(d+2)%7; d=d[wd<5][:n]; t=t0+d*DAY+6*3600+r.integers(0,900,len(d))
    elif kind=='poisson': t=t0+np.cumsum(r.exponential(DAY/8,n)).astype(np.int64)
    elif kind=='gappy':
        g=np.where(r.random(n)<0.02, r.integers(2,6,n)*DAY, 3600+r.integers(0,600,n)); t=t0+np.cumsum(g)
    else: raise ValueError(kind)
    return np.sort(np.asarray(t,dtype=np.int64))

def season_log(r, t, hour_amp=0.0, week='none', month_end=0.0):
    s=np.zeros(len(t)); h=(t%DAY)/3600.0; d=(t//DAY)
    wd=(d+3)%7                                  # 1970-01-01 is Thursday=3 with Monday=0
    if hour_amp: 
        ph=r.uniform(0,24); s+=hour_amp*np.sin(2*np.pi*(h-ph)/24)+0.3*hour_amp*((h>=8)&(h<18))
    if week=='weekend': s+=np.where(wd>=5, math.log(r.uniform(0.5,0.75)),0)
    elif week=='monday': s+=np.where(wd==0, math.log(r.uniform(1.4,2.0)),0)
    if month_end:
        dom=np.array([int(str(y)[8:10]) for y in (np.datetime64('1970-01-01')+d.astype('timedelta64[D]'))])
        s+=np.where(dom==1, math.log(1+month_end),0)
    return s

def noise_log(r, n, sigma, tail='normal', phi=0.0):
    if tail=='normal': e=r.normal(0,1,n)
    elif tail=='t3': e=r.standard_t(3,n)/math.sqrt(3)
    elif tail=='skew': e=(r.exponential(1,n)-1)            # right-skewed, unit variance
    else: raise ValueError(tail)
    if phi:
        x=np.empty(n); x[0]=e[0]; k=math.sqrt(1-phi*phi)
        for i in range(1,n): x[i]=phi*x[i-1]+k*e[i]
        e=x
    return sigma*e

def outliers_log(r, n, hi=0.0, lo=0.0):
    o=np.zeros(n)
    if hi: m=r.random(n)<hi; o[m]=np.log(r.uniform(2,10,m.sum()))
    if lo: m=r.random(n)<lo; o[m]=np.log(r.uniform(0.02,0.3,m.sum()))
    return o

FACTORS=[1.2,1.3,1.5,2.0,3.0]
def make(family, r, idx, law=None):
    '''A series; `law` is filled with what it is made of.'''
    base=math.exp(r.uniform(math.log(8),math.log(5400)))
    sched=r.choice(['hourly','quarter','daily','weekday','poisson','gappy'],p=[.3,.1,.2,.1,.2,.1])
    n=int(r.choice([120,200,300,500,800]))
    sigma=float(r.choice([0.03,0.08,0.15,0.25,0.4],p=[.2,.25,.25,.2,.1]))
    tail=str(r.choice(['normal','t3','skew'],p=[.4,.3,.3])); phi=float(r.choice([0,0,0,0.3,0.6]))
    hi,lo=float(r.choice([0,0.005,0.01])),float(r.choice([0,0,0.01]))
    hour_amp,week,mend=0.0,'none',0.0
    quant=0.0; bim=None; growth=0.0
    ev=[]
    def shift(at,end,f,kind='shift'):
        ev.append(dict(kind=kind,start=int(at),end=int(end),factor=float(f)))
    if family=='stationary': pass
    elif family=='seasonal' or family=='shift_seasonal':
        sched=str(r.choice(['hourly','quarter','poisson','daily'])); n=int(r.choice([500,800,1200]))
        hour_amp=float(r.choice([0.15,0.3,0.5])) if sched!='daily' else 0.0
        week=str(r.choice(['weekend','monday'])) if (sched=='daily' or r.random()<.5) else 'none'
        mend=float(r.choice([0,0.6])) if sched=='daily' else 0.0
        sigma=min(sigma,0.25)
    elif family in('outliers','shift_outliers'): hi,lo=float(r.choice([.02,.04,.06])),float(r.choice([0,.02,.05]))
    elif family in('bimodal','shift_bimodal'): bim=(float(r.uniform(.1,.5)),math.log(float(r.uniform(1.6,4)))); sigma=min(sigma,.15)
    elif family=='variance': 
        at=int(r.integers(60,n-50)); ev.append(dict(kind='variance',start=at,end=n,factor=float(r.choice([2,3]))))
        sigma=min(sigma,.15)
    elif family=='growth': growth=math.log(float(r.uniform(1.03,1.15)))
    elif family=='quantised' : base=float(r.uniform(2,12)); quant=1.0; sigma=float(r.choice([.02,.05])); hi=.01
    elif family=='shift_quantised': base=float(r.uniform(4,12)); quant=1.0; sigma=float(r.choice([.02,.05])); hi=.01
    elif family in('short_none','short_shift'):
        n=int(r.integers(12,41)); sched=str(r.choice(['daily','hourly','poisson'])); sigma=float(r.choice([.03,.08,.15,.25])); phi=0.0; hi=float(r.choice([0,.02])); lo=0.0
    elif family in('long_none','long_shift'):
        n=5000; sched=str(r.choice(['hourly','quarter'])); hour_amp=float(r.choice([0,.2,.4])); week=str(r.choice(['none','weekend'])); sigma=min(sigma,.25); hi,lo=.01,.005
    if family=='shift' or family in('shift_seasonal','shift_outliers','shift_bimodal','shift_quantised'):
        lo_at=max(40,int(.25*n)) if family!='shift_seasonal' else int(.5*n)
        at=int(r.integers(lo_at,n-60)); f=float(r.choice(FACTORS))
        if family in('shift_bimodal','shift_quantised'): f=float(r.choice([1.5,2.0,3.0]))
        shift(at,n,f)
    elif family=='shift_recover':
        at=int(r.integers(40,n-75)); ln=int(r.integers(20,60)); f=float(r.choice(FACTORS[1:])); shift(at,at+ln,f)
        ev.append(dict(kind='down',start=at+ln,end=n,factor=1.0/f))
    elif family=='down_up':
        a=int(r.integers(40,max(41,n//2-5))); b=int(r.integers(a+40,n-35)) if n-35>a+40 else a+40; f=float(r.choice(FACTORS[1:]))
        ev.append(dict(kind='down',start=a,end=b,factor=1.0/f)); shift(b,n,f)
    elif family=='two_shifts':
        n=max(n,300); a=int(r.integers(50,n//2-40)); b=int(r.integers(a+60,n-60)); shift(a,b,float(r.choice(FACTORS))); shift(b,n,float(r.choice(FACTORS)))
    elif family=='transient':
        at=int(r.integers(40,n-20)); ln=int(r.integers(3,10)); ev.append(dict(kind='transient',start=at,end=at+ln,factor=float(r.choice([1.5,2,3]))))
    elif family=='drift':
        n=max(n,300); at=int(r.integers(60,n//2)); ln=int(r.integers(50,min(200,n-at-20))); ev.append(dict(kind='drift',start=at,end=at+ln,factor=float(r.choice([1.3,1.5,2,3]))))
    elif family=='short_shift':
        at=int(r.integers(5,max(6,min(15,n-6)))); shift(at,n,float(r.choice([1.5,2.0,3.0])))
    elif family=='long_shift':
        at=int(r.integers(1500,4500)); shift(at,n,float(r.choice(FACTORS)))
    t=schedule(r,sched,n); n=len(t)
    e=noise_log(r,n,sigma,tail,phi); L=np.zeros(n)
    for x in ev:
        s,en,f=x['start'],x['end'],x['factor']
        if x['kind'] in('shift','down','transient'):
            if x['kind']=='transient': L[s:en]+=math.log(f)
            elif x['kind']=='down': 
                L[s:]+=math.log(f)
            else: L[s:]+=math.log(f)
        elif x['kind']=='drift':
            k=np.clip((np.arange(n)-s)/(en-s),0,1); L+=k*math.log(f)
        elif x['kind']=='variance': e[s:]*=f
    if growth: L+=growth*np.arange(n)/n
    S=season_log(r,t,hour_amp,week,mend)
    B=np.where(r.random(n)<bim[0],bim[1],0.0) if bim else 0.0
    O=outliers_log(r,n,hi,lo)
    v=base*np.exp(L+S+B+e+O)
    if quant: v=np.maximum(1.0,np.round(v/quant)*quant)
    else: v=np.round(v,3)
    if law is not None: law.update(level=math.log(base)+S,change=L,noise=e,modes=bim,often=(hi,lo),quant=quant)
    sb=math.sqrt(bim[0]*(1-bim[0]))*bim[1] if bim else 0.0
    eff=math.sqrt(sigma**2*(1+phi)/(1-phi)+sb**2+(0.15*quant/base)**2)
    for x in ev:
        x['snr']=round(abs(math.log(x['factor']))/max(eff,1e-6),3)
        x['must']=bool(x['kind'] in('shift','drift') and x['snr']>=0.75 and x['factor']>=1.2)
    return dict(id=f'{family}-{idx:03d}',family=family,n=n,sched=str(sched),sigma=round(sigma,4),phi=phi,tail=tail,t=t.tolist(),v=[float(x) for x in v],events=ev)

PLAN=[('stationary',40),('seasonal',30),('outliers',30),('bimodal',20),('variance',20),('growth',20),('quantised',20),('short_none',40),('long_none',4),
      ('shift',60),('shift_seasonal',30),('shift_outliers',30),('shift_bimodal',20),('shift_quantised',20),('shift_recover',30),('down_up',20),('two_shifts',20),
      ('transient',20),('drift',30),('short_shift',40),('long_shift',4)]
def corpus(seed, scale=1.0):
    for fi,(fam,k) in enumerate(PLAN):
        for i in range(max(1,int(round(k*scale)))):
            yield make(fam,np.random.default_rng([seed,fi,i]),i)
if __name__=='__main__':
    a=argparse.ArgumentParser(); a.add_argument('--seed',type=int,default=1); a.add_argument('--scale',type=float,default=1.0); a.add_argument('--out',required=True); x=a.parse_args()
    k=p=m=0
    with open(x.out,'w') as f:
        for s in corpus(x.seed,x.scale):
            f.write(json.dumps(s,separators=(',',':'))+'\n'); k+=1; p+=s['n']; m+=sum(e['must'] for e in s['events'])
    print(k,'series',p,'points',m,'must-detect events')
