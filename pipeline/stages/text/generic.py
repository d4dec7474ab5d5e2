"""Whole captions that name no more than "a picture" or a button, by language, in lower case (see boilerplate.py).

Ours: the stock phrases of shop, blog and wiki software. Words that may name what an image shows (star, arrow, play) are
boilerplate only when they are the whole caption.
"""

from __future__ import annotations

_PHRASES_OF = {
    "en": """
        image; images; an image; the image; picture; pictures; pic; pics; photo; photos; photograph; photography;
        logo; logos; our logo; site logo; website logo; company logo; brand logo; logo image; header logo;
        footer logo; icon; icons; banner; banner image; header; header image; hero image; hero; background;
        background image; cover; cover image; cover photo; thumbnail; thumb; preview; preview image; image preview;
        featured image; post image; article image; blog image; blog post image; main image; product image;
        product photo; product picture; item image; gallery image; gallery; slideshow; slide; slider; carousel;
        profile picture; profile photo; profile image; user avatar; avatar; author photo; photo of author; alt;
        alt text; alt tag; image alt; image alt text; alternative text; title; caption; description;
        image description; image title; image caption; text; placeholder; placeholder image; image placeholder;
        default image; no image; no photo; no picture; no image available; image not available; image unavailable;
        photo not available; image coming soon; photo coming soon; coming soon; no alt text; no description;
        untitled; unnamed; unknown; n/a; na; none; null; nil; undefined; nan; true; false; test; blank; empty;
        spacer; pixel; tracking pixel; loading; loading image; please wait; click; click here; click to enlarge;
        click to zoom; click to view; click for larger image; click image to enlarge; click on image to enlarge;
        click for details; enlarge; enlarge image; view larger; view larger image; view full size; full size;
        larger image; zoom; zoom in; tap to zoom; hover to zoom; open image; open; close; next; previous; prev;
        back; more; read more; learn more; see more; view more; show more; details; more info; more information;
        buy now; shop now; add to cart; download; share; share this; print; menu; search; home; play; play video;
        video; video thumbnail; arrow; arrow right; arrow left; star; stars; check; checkmark; button; facebook;
        twitter; instagram; youtube; linkedin; pinterest; whatsapp; rss; email; e-mail; mail; phone; advertisement;
        ad; ads; advert; sponsored; sale; on sale; sold out; free shipping; free delivery; add to basket; add to bag;
        add to wishlist; add to compare; quick view; checkout; view cart; order now; sign up; sign in; log in;
        subscribe; call now; contact us; get started; submit; book now; apply now; donate; skip to content; new; hot;
        best seller; figure; fig; image of; picture of; photo of; photo by; image may contain;
        stock photo; stock image; royalty free stock photo; illustration; graphic; graphics; artwork; screenshot;
        infographic;
        click image for larger view; click for larger view; business logo; firm logo
    """,
    "de": """
        bild; bilder; das bild; foto; fotos; abbildung; grafik; symbol; symbolbild; vorschau; vorschaubild;
        titelbild; hintergrund; hintergrundbild; produktbild; beitragsbild; artikelbild; profilbild; platzhalter;
        platzhalterbild; kein bild; kein bild vorhanden; kein bild verfügbar; bild vergrößern; vergrößern;
        zum vergrößern klicken; zum vergrößern anklicken; klicken zum vergrößern; bild anklicken; hier klicken;
        großansicht; mehr; mehr erfahren; mehr lesen; weiterlesen; weiter; zurück; schließen; suche; menü;
        startseite; teilen; drucken; werbung; anzeige; galerie; bildergalerie; ohne titel; unbenannt; laden;
        wird geladen; kostenlos downloaden; herunterladen; in den warenkorb; details; pfeil;
        logo; firmenlogo; unternehmenslogo; logo des unternehmens; vereinslogo
    """,
    "fr": """
        image; images; photo; photos; photographie; illustration; logo; logo du site; icône; icone; bannière;
        vignette; aperçu; miniature; arrière-plan; image de fond; image de couverture; image du produit;
        photo du produit; photo de profil; image à la une; pas d'image; aucune image; image non disponible;
        cliquez pour agrandir; cliquer pour agrandir; agrandir; agrandir l'image; agrandir la photo; zoomer;
        cliquez ici; en savoir plus; lire la suite; voir plus; suivant; précédent; retour; fermer; rechercher;
        recherche; accueil; partager; imprimer; publicité; sans titre; chargement; télécharger; flèche;
        logo de l'entreprise; logo de la société; logo entreprise
    """,
    "es": """
        imagen; imágenes; imagenes; foto; fotos; fotografía; fotografia; ícono; icono; logotipo; miniatura;
        vista previa; fondo; imagen de fondo; imagen de portada; portada; imagen del producto; foto de perfil;
        imagen destacada; sin imagen; imagen no disponible; clic para ampliar; haz clic para ampliar;
        haga clic para ampliar; click para ampliar; ampliar; ampliar imagen; haga clic aquí; haz clic aquí;
        leer más; ver más; más información; siguiente; anterior; volver; cerrar; buscar; inicio; compartir;
        imprimir; publicidad; anuncio; sin título; cargando; descargar; flecha;
        logo; logotipo de la empresa; logo de la empresa; logo empresa
    """,
    "pt": """
        imagem; imagens; foto; fotos; fotografia; ícone; icone; logotipo; miniatura; fundo; imagem de fundo; capa;
        imagem de capa; imagem do produto; foto de perfil; imagem destacada; sem imagem; imagem não disponível;
        imagem indisponível; clique para ampliar; ampliar; ampliar imagem; clique aqui; leia mais; ver mais;
        saiba mais; próximo; seguinte; anterior; voltar; fechar; pesquisar; início; compartilhar; partilhar;
        imprimir; publicidade; sem título; carregando; baixar; seta;
        logo; logotipo da empresa; logo da empresa; logótipo da empresa; logomarca
    """,
    "it": """
        immagine; immagini; foto; fotografia; icona; logo; copertina; immagine di copertina; anteprima; sfondo;
        miniatura; immagine del prodotto; foto profilo; immagine in evidenza; nessuna immagine;
        immagine non disponibile; clicca per ingrandire; ingrandisci; ingrandisci immagine; clicca qui; leggi tutto;
        leggi di più; scopri di più; avanti; indietro; successivo; precedente; chiudi; cerca; condividi; stampa;
        pubblicità; senza titolo; caricamento; scarica; freccia;
        logo aziendale; logo dell'azienda; logo azienda
    """,
    "nl": """
        afbeelding; afbeeldingen; plaatje; foto; foto's; pictogram; icoon; achtergrond; achtergrondafbeelding;
        omslag; miniatuur; voorbeeld; productfoto; productafbeelding; profielfoto; uitgelichte afbeelding;
        geen afbeelding; geen foto; geen afbeelding beschikbaar; klik om te vergroten; klik voor vergroting;
        vergroten; klik hier; lees meer; meer lezen; meer info; volgende; vorige; terug; sluiten; zoeken; delen;
        afdrukken; advertentie; reclame; zonder titel; laden; downloaden; pijl
    """,
    "pl": """
        obraz; obrazek; zdjęcie; zdjęcia; zdjecie; fotografia; grafika; ikona; logo; tło; okładka; miniatura;
        miniaturka; podgląd; zdjęcie produktu; zdjęcie profilowe; brak zdjęcia; brak obrazka;
        kliknij, aby powiększyć; kliknij aby powiększyć; powiększ; powiększ zdjęcie; kliknij tutaj; czytaj więcej;
        więcej; następny; poprzedni; wstecz; zamknij; szukaj; udostępnij; drukuj; reklama; bez tytułu; ładowanie;
        pobierz; strzałka
    """,
    "cs": """
        obrázek; obrazek; obrázky; fotka; fotografie; foto; ikona; logo; pozadí; náhled; obálka; ilustrační foto;
        ilustrační obrázek; profilový obrázek; bez obrázku; obrázek není k dispozici; klikněte pro zvětšení;
        kliknutím zvětšíte; zvětšit; klikněte zde; číst dále; více; další; předchozí; zpět; zavřít; hledat; sdílet;
        tisk; reklama; bez názvu; načítání; stáhnout; šipka
    """,
    "sv": """
        bild; bilder; bilden; foto; fotografi; ikon; logotyp; bakgrund; omslag; miniatyr; produktbild; profilbild;
        ingen bild; klicka för att förstora; klicka här; förstora; läs mer; nästa; föregående; tillbaka; stäng; sök;
        dela; skriv ut; annons; reklam
    """,
    "da": "billede; billeder; klik for at forstørre; læs mere",
    "nb": "bilde; klikk for å forstørre; les mer",
    "fi": "kuva; kuvat; valokuva; lue lisää",
    "tr": """
        resim; resimler; görsel; görseller; fotoğraf; fotoğraflar; simge; ikon; logo; kapak; kapak resmi;
        küçük resim; önizleme; arka plan; ürün resmi; ürün görseli; profil resmi; resim yok; görsel yok;
        büyütmek için tıklayın; resmi büyüt; tıklayın; buraya tıklayın; devamını oku; daha fazla; sonraki; önceki;
        geri; kapat; ara; paylaş; yazdır; reklam; başlıksız; yükleniyor; indir;
        şirket logosu; firma logosu; site logosu
    """,
    "id": """
        gambar; gambar produk; foto; foto produk; foto profil; ikon; sampul; latar belakang; pratinjau;
        tidak ada gambar; gambar tidak tersedia; klik untuk memperbesar; perbesar; klik di sini; baca selengkapnya;
        selengkapnya; berikutnya; sebelumnya; kembali; tutup; cari; bagikan; iklan; memuat; unduh
    """,
    "vi": "hình ảnh; ảnh; hình; ảnh đại diện; ảnh bìa; biểu tượng; không có ảnh; xem thêm; nhấn để phóng to",
    "ru": """
        изображение; изображения; картинка; картинки; рисунок; фото; фотография; фотографии; иллюстрация; логотип;
        лого; иконка; значок; баннер; фон; обложка; миниатюра; превью; аватар; фото товара; фото профиля; нет фото;
        нет изображения; фото отсутствует; изображение отсутствует; нажмите, чтобы увеличить;
        нажмите для увеличения; увеличить; увеличить фото; увеличить изображение; нажмите здесь; читать далее;
        подробнее; далее; назад; вперед; закрыть; поиск; поделиться; печать; реклама; без названия; загрузка;
        скачать; стрелка; логотип сайту;
        логотип компании; логотип сайта
    """,
    "uk": "зображення; світлина; немає фото; збільшити; докладніше",
    "el": """
        εικόνα; εικόνες; φωτογραφία; φωτογραφίες; λογότυπο; εικονίδιο; φόντο; εξώφυλλο; μικρογραφία; χωρίς εικόνα;
        κλικ για μεγέθυνση; μεγέθυνση; περισσότερα; διαβάστε περισσότερα
    """,
    "ar": """
        صورة; صور; الصورة; شعار; الشعار; أيقونة; ايقونة; خلفية; غلاف; صورة الغلاف; صورة مصغرة; صورة المنتج;
        صورة الملف الشخصي; لا توجد صورة; الصورة غير متوفرة; انقر للتكبير; اضغط للتكبير; تكبير; تكبير الصورة;
        انقر هنا; اضغط هنا; اقرأ المزيد; المزيد; التالي; السابق; رجوع; إغلاق; بحث; مشاركة; طباعة; إعلان; تحميل;
        شعار الشركة; شعار الموقع; انقر لتكبير الصورة; اضغط لتكبير الصورة
    """,
    "fa": "عکس; تصویر; لوگو; بدون تصویر; بیشتر بخوانید; ادامه مطلب",
    "he": "תמונה; תמונות; לוגו; סמל; אייקון; רקע; אין תמונה; לחץ להגדלה; לחצו להגדלה; הגדל; קרא עוד; עוד",
    "hi": "चित्र; तस्वीर; फोटो; फ़ोटो; इमेज; लोगो; छवि; आइकन; और पढ़ें",
    "bn": "ছবি",
    "ta": "படம்",
    "te": "చిత్రం",
    "zh": """
        图; 图片; 图像; 照片; 相片; 图标; 标志; 徽标; 商标; 封面; 封面图; 缩略图; 背景; 背景图; 背景图片; 头像;
        预览; 预览图; 产品图片; 商品图片; 暂无图片; 没有图片; 无图片; 点击放大; 点击放大图片; 点击查看大图; 加入购物车;
        立即购买; 查看大图; 放大;
        点击这里; 更多; 查看更多; 阅读更多; 了解更多; 详情; 查看详情; 下一页; 上一页; 返回; 关闭; 搜索; 首页; 分享;
        打印; 广告; 无标题; 未命名; 加载中; 下载; 在这里插入图片描述; 圖; 圖片; 圖像; 圖示; 標誌; 縮圖; 背景圖;
        頭像; 點擊放大; 點我放大; 看大圖; 更多資訊; 廣告; 載入中;
        公司标志; 公司logo; 网站标志
    """,
    "ja": """
        画像; イメージ; イメージ画像; 写真; 図; ロゴ; アイコン; バナー; サムネイル; サムネイル画像; アイキャッチ;
        アイキャッチ画像; 背景; 背景画像; 表紙; カバー画像; 商品画像; 商品写真; プロフィール画像; 画像なし;
        商品画像はありません; カートに入れる; 今すぐ購入;
        画像はありません; クリックで拡大; クリックすると拡大します; クリックして拡大; 拡大; 拡大する; 拡大画像;
        詳細; 詳しくはこちら; こちら; もっと見る; 続きを読む; 次へ; 前へ; 戻る; 閉じる; 検索; ホーム; シェア; 印刷;
        広告; 読み込み中; ダウンロード;
        会社のロゴ; 会社ロゴ; 企業ロゴ; ロゴ画像
    """,
    "ko": """
        이미지; 사진; 그림; 로고; 아이콘; 배너; 썸네일; 대표 이미지; 대표이미지; 배경; 배경 이미지; 표지;
        상품 이미지; 상품이미지; 프로필 사진; 프로필 이미지; 이미지 없음; 이미지 준비중; 클릭하면 확대; 확대;
        확대보기; 크게 보기; 크게보기; 더보기; 더 보기; 자세히 보기; 자세히; 다음; 이전; 뒤로; 닫기; 검색; 공유;
        인쇄; 광고; 로딩중; 다운로드;
        로고 이미지; 회사 로고; 회사 로고 이미지; 이미지 크게 보기; 확대 보기
    """,
    "th": "รูปภาพ; รูป; ภาพ; โลโก้; ไอคอน; ไม่มีรูปภาพ; คลิกเพื่อขยาย; อ่านต่อ; ดูเพิ่มเติม",
}

PRICE_MARKS = frozenset((
    "price", "prices", "usd", "eur", "gbp", "aud", "cad", "chf", "jpy", "rmb", "cny", "inr", "rs", "rub",
    "pln", "sek", "nok", "dkk", "kr", "zł", "kč", "hkd", "nzd", "sgd", "euro", "euros", "dollar", "dollars",
    "cent", "cents", "pound", "pounds", "sale", "off", "discount", "credits", "preis", "uvp", "prix",
    "precio", "preço", "prezzo", "prijs", "цена", "руб", "рублей", "грн", "价格", "元", "円", "税込", "税抜", "価格",
    "원", "가격",
))  # fmt: skip
PRICE_WORDS = PRICE_MARKS | frozenset((
    "only", "from", "up", "to", "now", "was", "save", "each", "per", "for", "or", "and", "the", "a", "incl",
    "excl", "including", "excluding", "vat", "tax", "free", "shipping", "delivery", "retail", "list", "our",
    "your", "deal", "deals", "offer", "today", "special", "credit", "us", "au", "nur", "ab", "statt",
    "jetzt", "inkl", "zzgl", "mwst", "versand", "rabatt", "je", "seulement", "à", "partir", "de", "ttc",
    "ht", "livraison", "promo", "le", "la", "l", "unité", "solo", "desde", "ahora", "antes", "iva",
    "incluido", "envío", "gratis", "oferta", "por", "apenas", "r", "da", "inclusa", "offerta", "sconto",
    "nu", "van", "voor", "от", "за", "шт", "仅", "起", "現在", "送料無料",
))  # fmt: skip
"""Words that may come with a number in a price, in lower case; a price also needs a mark, % or a currency sign."""

GENERIC_CAPTIONS = frozenset(
    " ".join(phrase.split()).casefold() for phrases in _PHRASES_OF.values() for phrase in phrases.split(";")
)
"""Case folded, with single spaces and no punctuation at the ends."""
